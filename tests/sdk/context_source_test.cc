// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "sdk/context_source.h"

#include <atomic>
#include <map>

#include "sdk/internal/runtime.h"
#include "sdk/internal/socket_path.h"
#include "tests/sdk/service.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;
using Kind = tls::Notice::Kind;

absl::StatusOr<std::string> Resolve(const std::string& option,
                                    std::map<std::string, std::string> environment) {
  return tls::ResolveSocket(option, [&](const char* name) -> const char* {
    auto it = environment.find(name);
    return it == environment.end() ? nullptr : it->second.c_str();
  });
}

TEST(SocketPath, IsTheOptionThenLinchpinsThenSpiffesThenTheDefault) {
  const std::map<std::string, std::string> both = {{"LINCHPIN_AGENT_SOCKET", "unix:///b"},
                                                   {"SPIFFE_ENDPOINT_SOCKET", "unix:///c"}};
  EXPECT_THAT(Resolve("unix:///a", both), IsOkAndHolds(std::string("/a")));
  EXPECT_THAT(Resolve("/a", both), IsOkAndHolds(std::string("/a")));
  EXPECT_THAT(Resolve("", both), IsOkAndHolds(std::string("/b")));
  EXPECT_THAT(Resolve("", {{"SPIFFE_ENDPOINT_SOCKET", "unix:///c"}}),
              IsOkAndHolds(std::string("/c")));
  EXPECT_THAT(Resolve("", {}), IsOkAndHolds(std::string("/run/linchpin/agent.sock")));
}

TEST(SocketPath, RefusesWhatIsNoAbsolutePathAndSaysWhereItCameFrom) {
  EXPECT_THAT(Resolve("tcp://1.2.3.4:80", {}), StatusIs(StatusCode::kInvalidArgument, "socket"));
  EXPECT_THAT(Resolve("", {{"SPIFFE_ENDPOINT_SOCKET", "unix:relative"}}),
              StatusIs(StatusCode::kInvalidArgument, "SPIFFE_ENDPOINT_SOCKET"));
  EXPECT_THAT(Resolve("/" + std::string(200, 'x'), {}), StatusIs(StatusCode::kInvalidArgument));
}

TEST(ContextSource, OpensWithoutAnAgentAndSaysSoWhenWaitedFor) {
  TempDir dir;
  tls::ContextSource::Options options;
  options.socket = dir.Join("nobody.sock");
  options.observer = [](const tls::Notice&) {};
  ASSERT_OK_AND_ASSIGN(auto source, tls::ContextSource::Open(options));
  EXPECT_THAT(source->WaitReady(absl::Milliseconds(200)),
              StatusIs(StatusCode::kUnavailable, "nobody.sock"));
  EXPECT_TRUE(source->Current().empty());
}

TEST(ContextSource, WaitsForAnIdentityAndNamesTheSelectorsSeen) {
  World world;
  Service web;
  agent::v1::MtlsContexts waiting;
  waiting.add_selectors("unix:uid:1000");
  web.Open();
  web.agent().Deliver(waiting);
  web.notices().WaitFor(Kind::kNoIdentity);
  EXPECT_THAT(web.source()->WaitReady(absl::Milliseconds(1)),
              StatusIs(StatusCode::kUnavailable, "unix:uid:1000"));
  web.Deliver(world.Contexts(kWeb));
  EXPECT_OK(web.source()->WaitReady(kLong));
  EXPECT_EQ(web.source()->Current().at(0).spiffe_id, kWeb);
}

TEST(ContextSource, AMalformedMessageIsRefusedWholeAndTheLastGoodOneStays) {
  World world;
  agent::v1::MtlsContexts contexts = world.Contexts(kWeb);
  Service web(contexts);
  const tls::IdentityInfo before = web.source()->Current().at(0);
  contexts.mutable_trust_domains(0)->add_issuers("no certificate");
  web.agent().Deliver(contexts);
  web.notices().WaitFor(Kind::kMessageRefused);
  EXPECT_EQ(web.source()->Current().at(0).trust_digest, before.trust_digest);
  EXPECT_EQ(web.source()->Current().at(0).serial, before.serial);
}

TEST(ContextSource, MayBeDroppedByItsOwnObserver) {
  World world;
  TempDir dir;
  FakeAgent agent(dir.Join("agent.sock"));
  base::Mutex mutex;
  base::CondVar changed;
  std::shared_ptr<tls::ContextSource> source;
  bool dropped = false;
  tls::ContextSource::Options options;
  options.socket = dir.Join("agent.sock");
  options.observer = [&](const tls::Notice& notice) {
    if (notice.kind != Kind::kIdentity) return;
    base::MutexLock lock(mutex);
    source.reset();
    dropped = true;
    changed.notify_all();
  };
  base::MutexLock lock(mutex);
  source = tls::ContextSource::Open(options).value();
  agent.Deliver(world.Contexts(kWeb));
  EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(30), [&] { return dropped; }));
}

TEST(ContextSource, AFloodOfVerdictsLeavesRoomForWhatTheAgentSays) {
  TempDir dir;
  base::Mutex mutex;
  base::CondVar changed;
  bool entered = false;
  bool released = false;
  tls::ContextSource::Options options;
  options.socket = dir.Join("nobody.sock");
  options.observer = [&](const tls::Notice&) {
    base::MutexLock lock(mutex);
    entered = true;
    changed.notify_all();
    changed.wait(lock, [&] { return released; });
  };
  ASSERT_OK_AND_ASSIGN(auto source, tls::ContextSource::Open(options));
  base::MutexLock lock(mutex);
  ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(30), [&] { return entered; }));
  for (size_t i = 0; i < base::RunLoop::kMaxQueued; ++i) {
    source->runtime()->Judged({});
    source->runtime()->Notify({});
  }
  const auto watched = source->runtime()->Watch({}, [](const tls::PeerVerdict&) {});
  EXPECT_OK(watched);
  released = true;
  changed.notify_all();
  lock.unlock();
  source->runtime()->Unwatch(watched.value_or(0));
}

TEST(ContextSource, RefusalsAreSaidSoManyTimesASecondHoweverManyThereAre) {
  TempDir dir;
  std::atomic<int> said = 0;
  tls::ContextSource::Options options;
  options.socket = dir.Join("nobody.sock");
  options.observer = [&](const tls::Notice& notice) {
    if (notice.kind == Kind::kPeerRefused) ++said;
  };
  ASSERT_OK_AND_ASSIGN(auto source, tls::ContextSource::Open(options));
  const absl::Duration started = base::SystemClock().Uptime();
  for (int i = 0; i < 10'000; ++i) {
    source->runtime()->NotifyRefused(trust::Direction::kInbound, {});
  }
  const double seconds = absl::ToDoubleSeconds(base::SystemClock().Uptime() - started);
  source.reset();  // what was posted has run
  EXPECT_GE(said, 10);
  EXPECT_LE(said, 10 * (seconds + 2));
}

TEST(ContextSource, ComesBackToAnAgentThatWasRestarted) {
  World world;
  Service web(world.Contexts(kWeb));
  web.StopAgent();
  web.notices().WaitFor(Kind::kAgentLost);
  web.StartAgent();
  web.Deliver(world.Contexts(kWeb));  // with another serial
}

}  // namespace
}  // namespace linchpin::test
