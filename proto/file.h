// Files, read and replaced without surprises: the one place in the library that touches a disk.
//
// A save is written beside the old file, forced to disk and renamed over it, so that a crash or a
// full disk at any moment leaves the old file or the new one, whole. System calls go through
// `FileSystem`, so that tests can fail each of them. `Source` and `Sink` let the same loaders and
// writers work on memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <sys/types.h>

#include <rondo/graph/error.h>

namespace rondo {

/// What is known of an open file.
struct FileStatus {
  uint64_t size = 0;
  uint64_t links = 0;  ///< names that the file has; 0 = unlinked
  bool regular = false;
  unsigned mode = 0;  ///< permissions
};

/// The system's calls with its conventions: -1 and errno on failure. Override to inject faults.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  /// @{ As the calls of these names.
  virtual int open(const std::string& path, int flags, unsigned mode);
  virtual int close(int fd);
  virtual ssize_t read(int fd, void* to, size_t n, uint64_t offset);
  virtual ssize_t write(int fd, const void* from, size_t n);
  virtual int sync(int fd);
  /// An exclusive lock that ends with the descriptor; never waits.
  virtual int lock(int fd);
  virtual int status(int fd, FileStatus* status);
  virtual int rename(const std::string& from, const std::string& to);
  virtual int unlink(const std::string& path);
  virtual int list(const std::string& folder, std::vector<std::string>* names);
  /// @}
};

/// The calls themselves.
FileSystem& system_files();

/// Refuses a file: code `file.section.rule`, text "path: message".
template <class... A>
[[noreturn]] void refuse_file(Fault fault, const std::string& path, std::string_view section,
                              std::string_view rule, const A&... message) {
  fail(fault, cat("file.", section, ".", rule), path, ": ", message...);
}

/// Bytes that can be read at any place; their number is known and real.
class Source {
 public:
  explicit Source(std::string name) : name_(std::move(name)) {}
  virtual ~Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  /// How many bytes there are.
  virtual uint64_t size() const = 0;
  /// Copies `n` bytes from `offset`; an Error when they are not all there.
  void read(uint64_t offset, void* to, size_t n);
  const std::string& name() const { return name_; }  ///< for errors: the path

 private:
  virtual void read_checked(uint64_t offset, void* to, size_t n) = 0;
  std::string name_;
};

/// A file. Errors: it cannot be opened, or is none (a folder, a device, a pipe).
class FileSource final : public Source {
 public:
  explicit FileSource(const std::string& path, FileSystem& files = system_files());
  ~FileSource() override;
  uint64_t size() const override { return size_; }

 private:
  void read_checked(uint64_t offset, void* to, size_t n) override;
  FileSystem& files_;
  int fd_ = -1;
  uint64_t size_ = 0;
};

/// The caller's memory, which must outlive it.
class MemorySource final : public Source {
 public:
  MemorySource(std::string name, std::span<const std::byte> bytes)
      : Source(std::move(name)), bytes_(bytes) {}
  MemorySource(std::string name, std::string_view bytes)
      : MemorySource(std::move(name), std::as_bytes(std::span(bytes))) {}
  uint64_t size() const override { return bytes_.size(); }

 private:
  void read_checked(uint64_t offset, void* to, size_t n) override;
  std::span<const std::byte> bytes_;
};

/// Takes bytes in order.
class Sink {
 public:
  explicit Sink(std::string name) : name_(std::move(name)) {}
  virtual ~Sink() = default;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  /// Appends `n` bytes.
  virtual void write(const void* from, size_t n) = 0;
  /// Appends them all.
  void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }
  const std::string& name() const { return name_; }

 private:
  std::string name_;
};

/// A sink that keeps the bytes.
class MemorySink final : public Sink {
 public:
  explicit MemorySink(std::string name) : Sink(std::move(name)) {}
  using Sink::write;
  void write(const void* from, size_t n) override;
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

/// Replaces the file `path` whole or not at all. Until commit() has returned, the old one stands;
/// without a commit nothing is left behind. A symbolic link at `path` is itself replaced.
///
/// commit: fsync, rename, fsync of the folder. A failed fsync is a failed save and is not tried
/// again on that file, because the system may by then have dropped what it could not write. Only
/// when the folder's fsync fails (`file.save.sync_folder`) the new file is in place already, but
/// may be lost with the power. Temporary files of dead processes are removed on the way.
class AtomicFile final : public Sink {
 public:
  explicit AtomicFile(const std::string& path, FileSystem& files = system_files());
  ~AtomicFile() override;
  using Sink::write;
  void write(const void* from, size_t n) override;
  /// Puts the new file in the old one's place.
  void commit();

  /// How the names of temporary files begin.
  static constexpr std::string_view kTemporary = ".rondo-tmp-";

 private:
  void open_folder();
  void sweep();
  void create();
  void discard() noexcept;
  [[noreturn]] void fail_call(std::string_view rule, std::string_view doing);

  FileSystem& files_;
  std::string folder_;
  std::string temporary_;  // empty: none is there
  int fd_ = -1;
  int folder_fd_ = -1;
};

}  // namespace rondo
