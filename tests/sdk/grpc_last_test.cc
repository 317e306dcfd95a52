// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A call that outlives all that it was made with.

#include <grpcpp/client_context.h>

#include <future>
#include <memory>
#include <thread>
#include <utility>

#include "examples/echo.grpc.pb.h"
#include "sdk/grpc_credentials.h"
#include "tests/sdk/service.h"

namespace linchpin::test {
namespace {

using examples::v1::Echo;
using examples::v1::Line;

struct Call {
  grpc::ClientContext context;
  std::unique_ptr<Echo::Stub> stub;
  Line line;
};

struct Threads {
  std::promise<void> let_go;
  std::promise<std::thread::id> of_callback, of_end;
};

// Tells in which thread the last holder lets go.
std::shared_ptr<void> Teller(std::shared_ptr<Threads> threads) {
  return {nullptr, [threads = std::move(threads)](void*) {
            threads->of_end.set_value(std::this_thread::get_id());
          }};
}

// gRPC 1.51 dies when the last channel goes in a thread of its own, and a source has a channel.
TEST(LastCall, EndsTheSourceInAThreadThatIsNotOfGrpcs) {
  World world;
  const TempDir dir;
  FakeAgent agent(dir.Join("agent.sock"));
  agent.Deliver(world.Contexts(kWeb));
  const auto threads = std::make_shared<Threads>();
  {
    auto call = std::make_shared<Call>();
    tls::ContextSource::Options options;
    options.socket = dir.Join("agent.sock");
    options.observer = [teller = Teller(threads)](const tls::Notice&) {};
    ASSERT_OK_AND_ASSIGN(const auto source, tls::ContextSource::Open(std::move(options)));
    ASSERT_OK(source->WaitReady(kLong));
    ASSERT_OK_AND_ASSIGN(const auto channels, tls::ChannelFactory::Make(source, {}));
    // Where nobody listens.
    ASSERT_OK_AND_ASSIGN(const auto channel,
                         channels->Channel("unix://" + dir.Join("nobody"), kPayments));
    call->stub = Echo::NewStub(channel);
    call->stub->async()->Say(&call->context, &call->line, &call->line,
                             [call, threads](const grpc::Status& status) mutable {
                               EXPECT_FALSE(status.ok());
                               threads->let_go.get_future().wait();
                               call.reset();
                               threads->of_callback.set_value(std::this_thread::get_id());
                             });
  }
  threads->let_go.set_value();
  EXPECT_NE(threads->of_end.get_future().get(), threads->of_callback.get_future().get());
}

}  // namespace
}  // namespace linchpin::test
