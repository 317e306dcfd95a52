// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// One unary call, then a stream, to the gRPC server of the examples; prints what comes back.
//
//   grpc_client HOST:PORT SPIFFE-ID TEXT

#include <grpcpp/grpcpp.h>

#include <cstdio>

#include "examples/echo.grpc.pb.h"
#include "sdk/context_source.h"
#include "sdk/grpc_credentials.h"

namespace tls = linchpin::tls;
using linchpin::examples::v1::Echo;
using linchpin::examples::v1::Line;

namespace {

grpc::Status Say(Echo::Stub& stub, const Line& line) {
  grpc::ClientContext context;
  Line answer;
  const grpc::Status status = stub.Say(&context, line, &answer);
  if (status.ok()) std::printf("say: %s\n", answer.text().c_str());
  return status;
}

grpc::Status Talk(Echo::Stub& stub, const Line& line) {
  grpc::ClientContext context;
  Line answer;
  const auto stream = stub.Talk(&context);
  for (int i = 0; i < 3 && stream->Write(line) && stream->Read(&answer); ++i) {
    std::printf("talk: %s\n", answer.text().c_str());
  }
  stream->WritesDone();
  return stream->Finish();
}

// The factory is asked for each call: the channel is another one after a renewal.
absl::Status Ask(const std::string& address, const std::string& expected_id, const Line& line) {
  auto source = tls::ContextSource::Open({});
  if (!source.ok()) return source.status();
  if (auto ready = (*source)->WaitReady(absl::Seconds(30)); !ready.ok()) return ready;
  auto channels = tls::ChannelFactory::Make(*source, {});
  if (!channels.ok()) return channels.status();
  for (const auto call : {Say, Talk}) {
    auto channel = (*channels)->Channel(address, expected_id);
    if (!channel.ok()) return channel.status();
    const grpc::Status status = call(*Echo::NewStub(*channel), line);
    if (!status.ok()) {
      return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                          status.error_message());
    }
  }
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return std::fprintf(stderr, "usage: grpc_client HOST:PORT SPIFFE-ID TEXT\n"), 2;
  Line line;
  line.set_text(argv[3]);
  const absl::Status asked = Ask(argv[1], argv[2], line);
  if (!asked.ok()) return std::fprintf(stderr, "%s\n", asked.ToString().c_str()), 1;
}
