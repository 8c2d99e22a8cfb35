#include <rondo/proto/container.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

#include <rondo/proto/crc32c.h>

namespace rondo {
namespace {

// As PNG's: a byte that is no text, and line ends that a careless transfer would change.
constexpr std::string_view kMagic("\x89RONDO\r\n", 8);
constexpr std::string_view kEndMagic("\nRONDO\x1A\x89", 8);
constexpr uint64_t kLargestSection = uint64_t{1} << 62;  // sums of two cannot wrap

template <class T>
void put(std::byte*& at, T v) {
  std::memcpy(at, &v, sizeof v);
  at += sizeof v;
}
template <class T>
T take(const std::byte*& at) {
  T v;
  std::memcpy(&v, at, sizeof v);
  at += sizeof v;
  return v;
}

bool matches(const std::byte* at, std::string_view magic) {
  return std::memcmp(at, magic.data(), magic.size()) == 0;
}

}  // namespace

std::array<std::byte, kHeaderBytes> encode_header(const Container& c) {
  std::array<std::byte, kHeaderBytes> h{};
  std::byte* p =
      std::copy_n(reinterpret_cast<const std::byte*>(kMagic.data()), kMagic.size(), h.data());
  put(p, c.version);
  put(p, c.min_reader);
  put(p, c.model_offset());
  put(p, c.model_size);
  put(p, c.data_offset());
  put(p, c.data_size);
  put(p, c.file_size());
  put(p, uint32_t{0});
  put(p, crc32c(h.data(), kHeaderBytes - 4));
  return h;
}

std::array<std::byte, kFooterBytes> encode_footer(const Container& c) {
  std::array<std::byte, kFooterBytes> f{};
  const auto header = encode_header(c);
  std::byte* p = f.data();
  put(p, c.model_crc);
  put(p, c.data_crc);
  put(p, c.file_size());
  put(p, crc32c(header.data(), header.size()));
  put(p, crc32c(f.data(), 20));
  std::copy_n(reinterpret_cast<const std::byte*>(kEndMagic.data()), kEndMagic.size(), p);
  return f;
}

void check_version(const std::string& path, uint32_t version, uint32_t min_reader) {
  if (min_reader > kFormatVersion) {
    refuse_file(Fault::kUnsupported, path, "header", "version",
                "needs a reader of version >= ", min_reader, "; this one reads up to version ",
                kFormatVersion);
  }
  if (version == 0 || min_reader == 0 || version < min_reader) {
    refuse_file(Fault::kArgument, path, "header", "version", "says version ", version,
                " for readers of version ", min_reader, ", which cannot be");
  }
}

Container read_container(Source& source) {
  const std::string& path = source.name();
  const auto refuse = [&](std::string_view section, std::string_view rule, const auto&... text) {
    refuse_file(Fault::kArgument, path, section, rule, text...);
  };
  std::array<std::byte, kHeaderBytes> h{};
  source.read(0, h.data(), std::min<uint64_t>(h.size(), source.size()));
  if (source.size() < kMagic.size() || !matches(h.data(), kMagic)) {
    refuse("header", "magic", "is not a .rondo file (it does not begin as one)");
  }
  if (source.size() < kHeaderBytes + kFooterBytes) {
    refuse("header", "truncated", "is ", source.size(), " bytes long, less than header and footer");
  }

  Container c;
  const std::byte* p = h.data() + kMagic.size();
  c.version = take<uint32_t>(p);
  c.min_reader = take<uint32_t>(p);
  check_version(path, c.version, c.min_reader);
  const auto model_offset = take<uint64_t>(p);
  c.model_size = take<uint64_t>(p);
  const auto data_offset = take<uint64_t>(p);
  c.data_size = take<uint64_t>(p);
  const auto file_size = take<uint64_t>(p);
  const auto zero = take<uint32_t>(p);
  if (take<uint32_t>(p) != crc32c(h.data(), kHeaderBytes - 4)) {
    refuse("header", "checksum", "its header is damaged (CRC32C differs)");
  }
  if (c.model_size > kLargestSection || c.data_size > kLargestSection) {
    refuse("header", "sizes", "declares ", c.model_size, " + ", c.data_size, " bytes");
  }
  if (model_offset != c.model_offset() || data_offset != c.data_offset() || zero != 0 ||
      c.data_size % kAlignment != 0 || file_size != c.file_size()) {
    refuse("header", "sizes", "the sizes in its header contradict each other");
  }
  if (file_size != source.size()) {
    refuse("header", "length", "must be ", file_size, " bytes long, but has ", source.size(),
           source.size() < file_size ? " (it was cut off)" : " (something follows it)");
  }

  std::array<std::byte, kFooterBytes> f{};
  source.read(c.footer_offset(), f.data(), f.size());
  p = f.data();
  c.model_crc = take<uint32_t>(p);
  c.data_crc = take<uint32_t>(p);
  if (f != encode_footer(c)) refuse("footer", "checksum", "its footer is damaged");

  std::array<std::byte, kAlignment> gap{};
  const uint64_t end = c.model_offset() + c.model_size;
  source.read(end, gap.data(), c.data_offset() - end);
  if (std::any_of(gap.begin(), gap.end(), [](std::byte b) { return b != std::byte{0}; })) {
    refuse("header", "padding", "the bytes between graphs and tensors are not zero");
  }
  return c;
}

}  // namespace rondo
