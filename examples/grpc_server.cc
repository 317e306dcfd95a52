// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A gRPC service for those whom peer policy lets in.
//
//   grpc_server PORT        0: any free one

#include <grpcpp/grpcpp.h>

#include <cstdio>

#include "examples/echo.grpc.pb.h"
#include "sdk/context_source.h"
#include "sdk/grpc_credentials.h"

namespace tls = linchpin::tls;
using linchpin::examples::v1::Echo;
using linchpin::examples::v1::Line;

namespace {

class EchoService final : public Echo::Service {
  grpc::Status Say(grpc::ServerContext* context, const Line* line, Line* answer) override {
    std::printf("%s says something\n", tls::CallerId(*context).c_str());
    *answer = *line;
    return grpc::Status::OK;
  }

  grpc::Status Talk(grpc::ServerContext* context,
                    grpc::ServerReaderWriter<Line, Line>* stream) override {
    std::printf("%s talks\n", tls::CallerId(*context).c_str());
    Line line;
    while (stream->Read(&line) && stream->Write(line)) continue;
    return grpc::Status::OK;
  }
};

absl::Status Serve(const std::string& address) {
  auto source = tls::ContextSource::Open({});
  if (!source.ok()) return source.status();
  if (auto ready = (*source)->WaitReady(absl::Seconds(30)); !ready.ok()) return ready;
  EchoService service;
  grpc::ServerBuilder builder;
  int port = 0;
  auto added = tls::AddListeningPort(&builder, address, *source,
                                     {.max_connection_age = absl::Hours(1)}, &port);
  if (!added.ok()) return added;
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  if (server == nullptr || port == 0) return absl::UnavailableError("cannot listen on " + address);
  std::printf("%s listens on port %d\n", (*source)->Current()[0].spiffe_id.c_str(), port);
  server->Wait();
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (argc != 2) return std::fprintf(stderr, "usage: grpc_server PORT\n"), 2;
  const absl::Status served = Serve(std::string("127.0.0.1:") + argv[1]);
  if (!served.ok()) return std::fprintf(stderr, "%s\n", served.ToString().c_str()), 1;
}
