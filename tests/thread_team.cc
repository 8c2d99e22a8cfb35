#include <rondo/runtime/thread_team.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <rondo/graph/error.h>

namespace rondo {
namespace {

TEST_CASE("thread_team_runs_each_piece_once") {
  const int size = GENERATE(1, 2, 3, 4, 9);
  ThreadTeam team(size);
  CHECK(team.size() == size);
  for (const int64_t pieces : {0, 1, 2, 3, 7, 100, 1000}) {
    std::vector<std::atomic<int>> hits(static_cast<size_t>(pieces));
    team.for_each(pieces, [&](int64_t i) { ++hits[static_cast<size_t>(i)]; });
    for (const auto& h : hits) REQUIRE(h == 1);
  }
}

TEST_CASE("thread_team_of_zero_takes_one_thread_a_core") {
  ThreadTeam team;
  CHECK(team.size() >= 1);
}

TEST_CASE("thread_team_many_short_jobs") {
  ThreadTeam team(3);
  int64_t sum = 0;  // written by one piece, read by the caller: the job's end orders them
  for (int64_t job = 0; job < 20000; ++job) {
    int64_t parts[3] = {};
    team.for_each(3, [&](int64_t i) { parts[i] = job + i; });
    sum += parts[0] + parts[1] + parts[2];
  }
  CHECK(sum == int64_t{20000} * 19999 / 2 * 3 + 3 * int64_t{20000});
}

TEST_CASE("thread_team_wakes_after_sleep") {
  ThreadTeam team(4);
  for (int k = 0; k < 5; ++k) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::atomic<int> hits = 0;
    team.for_each(16, [&](int64_t) { ++hits; });
    CHECK(hits == 16);
  }
}

TEST_CASE("thread_team_carries_the_lowest_piece_s_exception") {
  const int size = GENERATE(1, 2, 4);
  ThreadTeam team(size);
  for (int k = 0; k < 200; ++k) {
    std::string what;
    try {
      team.for_each(50, [&](int64_t i) {
        if (i == 7 || i == 8 || i == 30) throw std::runtime_error(std::to_string(i));
      });
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    REQUIRE(what == "7");
    std::atomic<int> hits = 0;
    team.for_each(5, [&](int64_t) { ++hits; });  // the team is whole afterwards
    REQUIRE(hits == 5);
  }
}

TEST_CASE("thread_team_nested_calls_run_inline") {
  ThreadTeam team(3);
  std::atomic<int> hits = 0;
  team.for_each(8, [&](int64_t) {
    const auto me = std::this_thread::get_id();
    team.for_each(10, [&](int64_t) {
      if (std::this_thread::get_id() == me) ++hits;
    });
    team.together(1, [&](int) { ++hits; });
  });
  CHECK(hits == 88);
  CHECK_THROWS_AS(team.for_each(2, [&](int64_t) { team.together(2, [](int) {}); }), Error);
}

TEST_CASE("thread_team_two_teams_may_nest_both_ways") {
  ThreadTeam a(2), b(2);
  std::atomic<int> hits = 0;
  a.for_each(4, [&](int64_t) {
    b.for_each(4, [&](int64_t) { a.for_each(4, [&](int64_t) { ++hits; }); });
  });
  CHECK(hits == 64);
}

TEST_CASE("thread_team_serves_many_callers_at_once") {
  ThreadTeam team(3);
  std::atomic<int64_t> sum = 0;
  std::vector<std::thread> users;
  for (int u = 0; u < 6; ++u) {
    users.emplace_back([&, u] {
      for (int k = 0; k < 300; ++k) {
        team.for_each(10, [&](int64_t i) { sum += i; });
        if (k % 10 == u) team.together(2, [&](int m) { sum += m; });
      }
    });
  }
  for (std::thread& t : users) t.join();
  CHECK(sum == 6 * 300 * 45 + 6 * 30);
}

TEST_CASE("thread_team_members_meet_at_a_barrier") {
  const int members = GENERATE(1, 2, 3, 4);
  ThreadTeam team(4);
  constexpr int kSteps = 500;
  Barrier barrier(members);
  std::vector<int> at(static_cast<size_t>(members));  // plain ints: the barrier orders them
  std::atomic<int> wrong = 0;
  team.together(members, [&](int m) {
    for (int step = 1; step <= kSteps; ++step) {
      at[static_cast<size_t>(m)] = step;
      barrier.wait(m);
      for (const int other : at) wrong += other != step;
      barrier.wait(m);
    }
  });
  CHECK(wrong == 0);
}

TEST_CASE("thread_team_together_carries_exceptions") {
  ThreadTeam team(2);
  CHECK_THROWS_AS(team.together(2,
                                [](int m) {
                                  if (m == 1) throw std::runtime_error("x");
                                }),
                  std::runtime_error);
  CHECK_THROWS_AS(team.together(3, [](int) {}), Error);
}

TEST_CASE("thread_team_pieces_in_turn_may_wait_for_earlier_ones") {
  const int size = GENERATE(1, 2, 3, 8);
  ThreadTeam team(size);
  for (int again = 0; again < 20; ++again) {
    constexpr int64_t kPieces = 12, kSteps = 50;
    std::vector<Progress> progress(kPieces);
    std::vector<int64_t> sums(kPieces, 0);
    team.for_each_in_turn(kPieces, [&](int64_t i) {
      const auto at = static_cast<size_t>(i);
      for (int64_t s = 1; s <= kSteps; ++s) {
        if (i > 0) {
          progress[at - 1].await(s);
        }
        sums[at] += s;
        progress[at].reach(s);
      }
    });
    for (const int64_t s : sums) REQUIRE(s == kSteps * (kSteps + 1) / 2);
  }
  // All run, even after a failure, and the lowest one's error is told.
  std::atomic<int> ran{0};
  const auto failing = [&](int64_t i) {
    ++ran;
    if (i % 3 == 1) throw std::runtime_error(std::to_string(i));
  };
  try {
    team.for_each_in_turn(9, failing);
    FAIL("nothing was thrown");
  } catch (const std::runtime_error& e) {
    CHECK(e.what() == std::string("1"));
  }
  CHECK(ran == (size == 1 ? 2 : 9));
}

}  // namespace
}  // namespace rondo
