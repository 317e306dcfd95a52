// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "tests/bench/load/fleet.h"
#include "tests/bench/load/node.h"
#include "tests/bench/load/protocol.h"
#include "tests/bench/load/scenarios.h"
#include "x509/certificate_request.h"

namespace linchpin::bench {
namespace {

struct Caller {
  Node node;
  std::unique_ptr<NodeStream> stream;
  std::vector<ca::v1::IssueRequest> requests;
  absl::Status result;
  size_t certificates = 0;
};

absl::StatusOr<std::vector<std::string>> MakeIdentities(AdminStub& admin, int count) {
  std::vector<std::string> ids;
  for (int i = 0; i < count; ++i) {
    ca::v1::Identity identity;
    identity.set_spiffe_id(absl::StrCat("spiffe://example.org/issue/", i));
    identity.add_selectors(absl::StrCat("unix:uid:", 200000 + i));
    identity.set_any_node(true);
    ASSIGN_OR_RETURN(const ca::v1::Identity made,
                     Call(admin, &AdminStub::CreateIdentity, identity));
    ids.push_back(made.identity_id());
  }
  return ids;
}

absl::Status Prepare(const IssueLoad& load, const std::vector<std::string>& identities,
                     Caller* caller) {
  caller->requests.clear();
  caller->certificates = 0;
  for (int call = 0; call < load.calls; ++call) {
    ca::v1::IssueRequest& request = caller->requests.emplace_back();
    for (int i = 0; i < load.batch; ++i) {
      ASSIGN_OR_RETURN(const x509::PrivateKey key,
                       x509::PrivateKey::Generate(x509::KeyType::kP256));
      ca::v1::IssueItem* item = request.add_items();
      item->set_identity_id(identities[static_cast<size_t>(i)]);
      ASSIGN_OR_RETURN(*item->mutable_certificate_request(), x509::MakeCertificateRequest(key));
    }
  }
  return absl::OkStatus();
}

absl::Status Ask(Caller* caller) {
  for (const ca::v1::IssueRequest& request : caller->requests) {
    ASSIGN_OR_RETURN(const ca::v1::IssueResponse response,
                     Call(*caller->node.stub, &ca::v1::NodeService::Stub::Issue, request));
    for (const ca::v1::IssueResult& result : response.results()) {
      if (result.code() != 0) {
        return absl::Status(static_cast<absl::StatusCode>(result.code()), result.message());
      }
      ++caller->certificates;
    }
  }
  return absl::OkStatus();
}

void OnEach(std::vector<Caller>& callers, const std::function<absl::Status(Caller*)>& work) {
  std::vector<std::thread> threads;
  for (Caller& caller : callers) {
    threads.emplace_back([&work, &caller] { caller.result = work(&caller); });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

absl::Status RunIssueLoad(const IssueLoad& load) {
  const std::unique_ptr<AdminStub> admin = ConnectToAdmin(load.admin_socket);
  ASSIGN_OR_RETURN(const std::vector<std::string> identities, MakeIdentities(*admin, load.batch));
  std::vector<Caller> callers;
  for (int i = 0; i < load.callers; ++i) {
    ASSIGN_OR_RETURN(Node node, Join(*admin, load.ca, absl::StrCat("issue-", i)));
    std::unique_ptr<NodeStream> stream = NodeStream::Open(node);
    RETURN_IF_ERROR(stream->WaitAcknowledged(1, absl::Seconds(30)));
    callers.push_back({.node = std::move(node), .stream = std::move(stream)});
  }
  while (true) {
    for (Caller& caller : callers) RETURN_IF_ERROR(Prepare(load, identities, &caller));
    if (!NextRound()) return absl::OkStatus();
    const absl::Duration begun = Uptime();
    OnEach(callers, Ask);
    const absl::Duration took = Uptime() - begun;
    size_t certificates = 0;
    for (const Caller& caller : callers) {
      RETURN_IF_ERROR(caller.result);
      certificates += caller.certificates;
    }
    Say({{"certificates", certificates}, {"seconds", absl::ToDoubleSeconds(took)}});
  }
}

}  // namespace linchpin::bench
