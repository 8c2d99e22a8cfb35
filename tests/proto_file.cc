// Saving, when the disk fails: at every call, in every way, the old file or the new one stands.
#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <sys/stat.h>

#include "proto_fixture.h"

namespace rondo::proto_test {
namespace {

Bundle with_step(int64_t step) {
  Bundle b;
  b.tensors.emplace("w", Tensor::full(f32, {1000}, static_cast<double>(step)));
  b.attributes = {{"step", step}};
  return b;
}
int64_t step_of(const std::string& path) {
  return load_bundle(path, registry()).attributes.integer("step");
}

constexpr int kShort = -1;  // half of what was asked for

// Fails the nth call, once, and keeps a log of all.
class FaultyFiles : public FileSystem {
 public:
  FaultyFiles(int nth, int error) : left_(nth), error_(error) {}
  std::vector<std::string> log;
  std::string failed;  // the call that did

  int open(const std::string& path, int flags, unsigned mode) override {
    return fails("open") ? -1 : FileSystem::open(path, flags, mode);
  }
  int close(int fd) override {
    const int rc = FileSystem::close(fd);  // a failed close has closed
    return fails("close") ? -1 : rc;
  }
  ssize_t read(int fd, void* to, size_t n, uint64_t offset) override {
    if (!fails("read")) return FileSystem::read(fd, to, n, offset);
    return error_ == kShort ? FileSystem::read(fd, to, (n + 1) / 2, offset) : -1;
  }
  ssize_t write(int fd, const void* from, size_t n) override {
    if (!fails("write")) return FileSystem::write(fd, from, n);
    return error_ == kShort ? FileSystem::write(fd, from, (n + 1) / 2) : -1;
  }
  int sync(int fd) override { return fails("sync") ? -1 : FileSystem::sync(fd); }
  int lock(int fd) override { return fails("lock") ? -1 : FileSystem::lock(fd); }
  int status(int fd, FileStatus* s) override {
    return fails("status") ? -1 : FileSystem::status(fd, s);
  }
  int rename(const std::string& from, const std::string& to) override {
    return fails("rename") ? -1 : FileSystem::rename(from, to);
  }
  int unlink(const std::string& path) override {
    return fails("unlink") ? -1 : FileSystem::unlink(path);
  }

 private:
  bool fails(const char* call) {
    log.emplace_back(call);
    if (left_-- != 0) return false;
    const bool can_be_short = log.back() == "read" || log.back() == "write";
    if (error_ == kShort && !can_be_short) return false;
    failed = call;
    errno = error_;
    return true;
  }
  int left_;
  int error_;
};

TEST_CASE("a_failure_of_any_call_at_any_time_leaves_the_old_file_or_the_new", "[proto][file]") {
  const int error = GENERATE(EIO, ENOSPC, EINTR, kShort);
  const Folder folder;
  const std::string path = folder / "m.rondo";
  save_bundle(with_step(0), path);
  int64_t stands = 0;
  int refused = 0;
  for (int n = 0;; ++n) {
    FaultyFiles files(n, error);
    const std::string code = code_of([&] { save_bundle(with_step(n + 1), path, {}, files); });
    INFO("call " << n << " (" << files.failed << ") with error " << error << ": " << code);
    if (code == "none" || code == "file.save.sync_folder") {
      stands = n + 1;
    } else {
      CHECK(code.starts_with("file.save."));
      ++refused;
    }
    CHECK(step_of(path) == stands);
    if (files.failed != "unlink") CHECK(folder.names() == std::vector<std::string>{"m.rondo"});
    if (static_cast<int>(files.log.size()) <= n) break;
  }
  // An interruption or a part of a write is no failure.
  CHECK((refused == 0) == (error == EINTR || error == kShort));
}

TEST_CASE("a_failing_read_is_an_error_and_a_short_one_is_not", "[proto][file]") {
  const int error = GENERATE(EIO, EINTR, kShort);
  const Folder folder;
  const std::string path = folder / "m.rondo";
  save_bundle(with_step(5), path);
  bool open_failed = false, read_failed = false;
  for (int n = 0;; ++n) {
    FaultyFiles files(n, error);
    const std::string code = code_of([&] { load_bundle(path, registry(), {}, files); });
    if (static_cast<int>(files.log.size()) <= n) break;
    open_failed = open_failed || code == "file.read.open";
    read_failed = read_failed || code == "file.read.failed";
    if (code != "none") CHECK(code.starts_with("file.read."));
  }
  CHECK(open_failed == (error == EIO));
  CHECK(read_failed == (error == EIO));
}

TEST_CASE("the_file_is_forced_to_disk_before_it_gets_its_name_and_the_folder_after",
          "[proto][file]") {
  const Folder folder;
  FaultyFiles files(-1, 0);
  save_bundle(with_step(1), folder / "m.pb", {}, files);
  std::string order;
  for (const std::string& call : files.log) {
    if (call == "write" && !order.ends_with("write ")) order += "write ";
    if (call == "sync" || call == "rename") order += call + " ";
  }
  CHECK(order == "write sync rename sync ");
}

TEST_CASE("a_failed_fsync_is_not_tried_again", "[proto][file]") {
  class NoSync : public FileSystem {
   public:
    int calls = 0;
    int sync(int) override {
      ++calls;
      errno = EIO;
      return -1;
    }
  };
  const Folder folder;
  NoSync files;
  CHECK(code_of([&] { save_bundle(with_step(1), folder / "m.rondo", {}, files); }) ==
        "file.save.sync");
  CHECK(files.calls == 1);
  CHECK(folder.names().empty());
}

TEST_CASE("temporary_files_of_dead_writers_are_swept_and_those_of_live_ones_kept",
          "[proto][file]") {
  const Folder folder;
  std::ofstream(folder / ".rondo-tmp-1-1") << "left behind";
  std::ofstream(folder / ".rondo-other") << "not ours";
  std::filesystem::create_symlink(folder / ".rondo-other", folder / ".rondo-tmp-link");
  AtomicFile live(folder / "live");
  live.write("half");
  const std::vector<std::string> before = folder.names();
  save_bundle(with_step(1), folder / "m.rondo");
  std::vector<std::string> expected = before;
  std::erase(expected, ".rondo-tmp-1-1");
  expected.emplace_back("m.rondo");
  CHECK(folder.names() == expected);
  live.commit();
  CHECK(std::filesystem::file_size(folder / "live") == 4);
}

TEST_CASE("an_error_while_writing_leaves_nothing_behind", "[proto][file]") {
  const Folder folder;
  Bundle b = with_step(1);
  b.attributes.set("text", "\xff");
  CHECK(code_of([&] { save_bundle(b, folder / "m.rondo"); }) == "file.attribute.utf8");
  CHECK(folder.names().empty());
  CHECK(code_of([&] { save_bundle(with_step(1), folder / "none/m.rondo"); }) == "file.save.folder");
}

TEST_CASE("a_file_that_was_private_stays_private", "[proto][file]") {
  const Folder folder;
  const std::string path = folder / "m.rondo";
  save_bundle(with_step(1), path);
  REQUIRE(::chmod(path.c_str(), 0600) == 0);
  save_bundle(with_step(2), path);
  struct stat s{};
  REQUIRE(::stat(path.c_str(), &s) == 0);
  CHECK((s.st_mode & 0777) == 0600);
  CHECK(step_of(path) == 2);
}

TEST_CASE("only_regular_files_are_read", "[proto][file]") {
  const Folder folder;
  const std::string pipe = folder / "p.rondo";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  std::filesystem::create_directory(folder / "d.rondo");
  CHECK(code_of([&] { load_bundle(pipe, registry()); }) == "file.read.regular");
  CHECK(code_of([&] { load_bundle(folder / "d.rondo", registry()); }) == "file.read.regular");
  std::string text;
  CHECK(code_of([&] { load_bundle(folder / "none.rondo", registry()); }, &text) ==
        "file.read.open");
  CHECK(text == folder / "none.rondo" + ": cannot be opened: No such file or directory");
}

TEST_CASE("a_file_that_shrinks_while_it_is_read_is_an_error", "[proto][file]") {
  const Folder folder;
  const std::string path = folder / "a";
  std::ofstream(path) << "0123456789";
  FileSource source(path);
  std::filesystem::resize_file(path, 5);
  char to[10];
  CHECK(code_of([&] { source.read(0, to, 10); }) == "file.read.shrunk");
  CHECK(code_of([&] { source.read(8, to, 3); }) == "file.read.range");
  CHECK(code_of([&] { source.read(~0ULL, to, 3); }) == "file.read.range");
}

}  // namespace
}  // namespace rondo::proto_test
