#include <rondo/proto/file.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <system_error>
#include <unistd.h>

#include <sys/file.h>
#include <sys/stat.h>

namespace rondo {
namespace {

constexpr size_t kLargestCall = size_t{1} << 30;  // Linux moves at most 2 GiB at once
constexpr unsigned kNewFileMode = 0666;           // less the user's umask
constexpr int kNameAttempts = 100;

std::string why(int error) { return std::generic_category().message(error); }

// Repeats a call that a signal interrupted.
template <class F>
auto uninterrupted(F call) {
  for (;;) {
    const auto r = call();
    if (r >= 0 || errno != EINTR) return r;
  }
}

}  // namespace

int FileSystem::open(const std::string& path, int flags, unsigned mode) {
  return ::open(path.c_str(), flags, mode);
}
int FileSystem::close(int fd) { return ::close(fd); }
ssize_t FileSystem::read(int fd, void* to, size_t n, uint64_t offset) {
  return ::pread(fd, to, n, static_cast<off_t>(offset));
}
ssize_t FileSystem::write(int fd, const void* from, size_t n) { return ::write(fd, from, n); }
int FileSystem::sync(int fd) { return ::fsync(fd); }
int FileSystem::lock(int fd) { return ::flock(fd, LOCK_EX | LOCK_NB); }

int FileSystem::status(int fd, FileStatus* status) {
  struct stat s{};
  if (::fstat(fd, &s) != 0) return -1;
  *status = {static_cast<uint64_t>(s.st_size), static_cast<uint64_t>(s.st_nlink),
             S_ISREG(s.st_mode), static_cast<unsigned>(s.st_mode & 07777)};
  return 0;
}

int FileSystem::rename(const std::string& from, const std::string& to) {
  return ::rename(from.c_str(), to.c_str());
}
int FileSystem::unlink(const std::string& path) { return ::unlink(path.c_str()); }

int FileSystem::list(const std::string& folder, std::vector<std::string>* names) {
  DIR* d = ::opendir(folder.c_str());
  if (d == nullptr) return -1;
  while (const dirent* e = ::readdir(d)) names->emplace_back(e->d_name);
  return ::closedir(d);
}

FileSystem& system_files() {
  static FileSystem files;
  return files;
}

void Source::read(uint64_t offset, void* to, size_t n) {
  if (offset > size() || n > size() - offset) {
    refuse_file(Fault::kArgument, name_, "read", "range", "bytes ", offset, " + ", n,
                " are outside a file of ", size());
  }
  if (n != 0) read_checked(offset, to, n);
}

FileSource::FileSource(const std::string& path, FileSystem& files) : Source(path), files_(files) {
  // O_NONBLOCK: a pipe must be refused, not waited for.
  fd_ = uninterrupted([&] { return files.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0); });
  if (fd_ < 0) {
    refuse_file(Fault::kUnsupported, path, "read", "open", "cannot be opened: ", why(errno));
  }
  FileStatus s;
  const int rc = files.status(fd_, &s);
  if (rc == 0 && s.regular) {
    size_ = s.size;
    return;
  }
  const std::string message =
      rc != 0 ? "its size cannot be read: " + why(errno) : "is not a regular file";
  files.close(fd_);
  refuse_file(Fault::kUnsupported, path, "read", rc != 0 ? "status" : "regular", message);
}

FileSource::~FileSource() { files_.close(fd_); }

void FileSource::read_checked(uint64_t offset, void* to, size_t n) {
  auto* p = static_cast<std::byte*>(to);
  while (n != 0) {
    const ssize_t got =
        uninterrupted([&] { return files_.read(fd_, p, std::min(n, kLargestCall), offset); });
    if (got < 0) {
      refuse_file(Fault::kUnsupported, name(), "read", "failed", "reading failed at byte ", offset,
                  ": ", why(errno));
    }
    if (got == 0) {
      refuse_file(Fault::kUnsupported, name(), "read", "shrunk", "ends at byte ", offset,
                  ", but was ", size_, " bytes long when it was opened");
    }
    p += got;
    offset += static_cast<uint64_t>(got);
    n -= static_cast<size_t>(got);
  }
}

void MemorySource::read_checked(uint64_t offset, void* to, size_t n) {
  std::memcpy(to, bytes_.data() + offset, n);
}

void MemorySink::write(const void* from, size_t n) {
  bytes_.append(static_cast<const char*>(from), n);
}

AtomicFile::AtomicFile(const std::string& path, FileSystem& files) : Sink(path), files_(files) {
  const size_t slash = path.rfind('/');
  folder_ = slash == std::string::npos ? "./" : path.substr(0, slash + 1);
  try {
    open_folder();
    sweep();
    create();
  } catch (...) {
    discard();
    throw;
  }
}

AtomicFile::~AtomicFile() { discard(); }

// Opened first: once the new name stands, nothing but the fsync itself can fail.
void AtomicFile::open_folder() {
  folder_fd_ =
      uninterrupted([&] { return files_.open(folder_, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0); });
  if (folder_fd_ < 0) fail_call("folder", "opening the folder");
}

// A live writer holds a lock on its temporary file; what can be locked has lost its writer.
void AtomicFile::sweep() {
  std::vector<std::string> names;
  if (files_.list(folder_, &names) != 0) return;
  for (const std::string& n : names) {
    if (!n.starts_with(kTemporary)) continue;
    const int fd = files_.open(folder_ + n, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
    if (fd < 0) continue;
    FileStatus s;
    if (files_.status(fd, &s) == 0 && s.regular && files_.lock(fd) == 0) {
      files_.unlink(folder_ + n);
    }
    files_.close(fd);
  }
}

void AtomicFile::create() {
  static std::atomic<uint64_t> counter{0};
  unsigned mode = kNewFileMode;
  if (const int old = files_.open(name(), O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0); old >= 0) {
    FileStatus s;
    if (files_.status(old, &s) == 0 && s.regular) mode = s.mode;  // stays as private as it was
    files_.close(old);
  }
  for (int i = 0; i < kNameAttempts; ++i) {
    const std::string path = cat(folder_, kTemporary, ::getpid(), "-", counter++);
    const int fd = uninterrupted([&] {
      return files_.open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode | 0200U);
    });
    if (fd < 0 && errno == EEXIST) continue;
    if (fd < 0) fail_call("create", "creating a temporary file beside it");
    // Another process's sweep may have been quicker than our lock: then the name is gone.
    const bool taken = files_.lock(fd) != 0 && errno == EWOULDBLOCK;
    FileStatus s;
    if (taken || files_.status(fd, &s) != 0 || s.links == 0) {
      files_.close(fd);
      files_.unlink(path);
      continue;
    }
    fd_ = fd;
    temporary_ = path;
    return;
  }
  errno = EEXIST;
  fail_call("create", "creating a temporary file beside it");
}

void AtomicFile::write(const void* from, size_t n) {
  if (fd_ < 0) fail_internal("write to a file that is committed or given up: ", name());
  const auto* p = static_cast<const std::byte*>(from);
  while (n != 0) {
    const ssize_t put =
        uninterrupted([&] { return files_.write(fd_, p, std::min(n, kLargestCall)); });
    if (put == 0) errno = EIO;  // no progress, and no reason given
    if (put <= 0) fail_call("write", "writing");
    p += put;
    n -= static_cast<size_t>(put);
  }
}

void AtomicFile::commit() {
  if (fd_ < 0) fail_internal("second commit of ", name());
  if (uninterrupted([&] { return files_.sync(fd_); }) != 0) fail_call("sync", "fsync");
  // The lock is held until the name is the final one.
  if (uninterrupted([&] { return files_.rename(temporary_, name()); }) != 0) {
    fail_call("rename", "renaming the new file over it");
  }
  temporary_.clear();
  files_.close(std::exchange(fd_, -1));
  const int rc = uninterrupted([&] { return files_.sync(folder_fd_); });
  // Some network file systems cannot sync a folder, and say so.
  if (rc != 0 && errno != EINVAL && errno != ENOTSUP) {
    fail_call("sync_folder",
              "the new file is in place, but may be lost with the power: fsync of the folder");
  }
  files_.close(std::exchange(folder_fd_, -1));
}

void AtomicFile::discard() noexcept {
  if (fd_ >= 0) files_.close(std::exchange(fd_, -1));
  if (folder_fd_ >= 0) files_.close(std::exchange(folder_fd_, -1));
  if (!temporary_.empty()) files_.unlink(temporary_);
  temporary_.clear();
}

void AtomicFile::fail_call(std::string_view rule, std::string_view doing) {
  const int error = errno;
  discard();
  refuse_file(Fault::kUnsupported, name(), "save", rule, "was not saved: ", doing,
              " failed: ", why(error));
}

}  // namespace rondo
