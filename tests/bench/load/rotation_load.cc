// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <atomic>
#include <functional>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "tests/bench/load/fleet.h"
#include "tests/bench/load/node.h"
#include "tests/bench/load/protocol.h"
#include "tests/bench/load/scenarios.h"
#include "x509/certificate_request.h"
#include "x509/path.h"

namespace linchpin::bench {
namespace {

constexpr int kWorkers = 4;
constexpr absl::Duration kPatience = absl::Minutes(10);
constexpr absl::Duration kBetweenLooks = absl::Milliseconds(500);

struct Member {
  std::optional<Node> node;
  std::unique_ptr<NodeStream> stream;
  std::vector<x509::Chain> services;  // what each serves with now
};

// Of all nodes; any thread.
struct Counts {
  std::atomic<uint64_t> certificates = 0;
  std::atomic<uint64_t> judged = 0;
  std::atomic<uint64_t> refused = 0;
};

void Pause(absl::Duration how_long) {
  base::Mutex mutex;
  base::CondVar never;
  base::MutexLock lock(mutex);
  never.wait_for(lock, absl::ToChronoMilliseconds(how_long));
}

absl::Status ForEach(size_t count, const std::function<absl::Status(size_t)>& work) {
  std::atomic<size_t> next = 0;
  std::vector<absl::Status> results(kWorkers);
  std::vector<std::thread> workers;
  for (absl::Status& result : results) {
    workers.emplace_back([&] {
      for (size_t n = next++; n < count && result.ok(); n = next++) result = work(n);
    });
  }
  for (std::thread& worker : workers) worker.join();
  for (const absl::Status& result : results) RETURN_IF_ERROR(result);
  return absl::OkStatus();
}

class Rotation {
 public:
  Rotation(AdminStub& admin, const RotationLoad& load) : admin_(admin), load_(load) {}

  absl::Status Prepare() {
    for (int i = 0; i < load_.services; ++i) {
      ca::v1::Identity identity;
      identity.set_spiffe_id(absl::StrCat("spiffe://example.org/service/", i));
      identity.add_selectors(absl::StrCat("unix:uid:", 200000 + i));
      identity.set_any_node(true);
      ASSIGN_OR_RETURN(const ca::v1::Identity made,
                       Call(admin_, &AdminStub::CreateIdentity, identity));
      identities_.push_back(made.identity_id());
    }
    members_.resize(static_cast<size_t>(load_.count));
    return ForEach(members_.size(), [this](size_t n) -> absl::Status {
      ASSIGN_OR_RETURN(members_[n].node, Join(admin_, load_.ca, absl::StrCat("rotation-", n)));
      members_[n].stream = NodeStream::Open(*members_[n].node);
      RETURN_IF_ERROR(members_[n].stream->WaitAcknowledged(1, kPatience));
      return Issue(&members_[n]);
    });
  }

  // Between the steps each service's certificate is judged by another node.
  absl::Status Run() {
    RETURN_IF_ERROR(Step(ca::v1::RotateRequest::PREPARE));
    RETURN_IF_ERROR(Step(ca::v1::RotateRequest::DISTRIBUTE));
    RETURN_IF_ERROR(JudgeAll());
    RETURN_IF_ERROR(Step(ca::v1::RotateRequest::ACTIVATE));
    // While half are renewed, the others still serve with what the old issuer signed.
    const size_t half = members_.size() / 2;
    RETURN_IF_ERROR(ForEach(half, [this](size_t n) { return Renew(n); }));
    RETURN_IF_ERROR(JudgeAll());
    RETURN_IF_ERROR(
        ForEach(members_.size() - half, [this, half](size_t n) { return Renew(half + n); }));
    // As agents do; what the old issuer signed lives until it expires.
    Pause(absl::Seconds(load_.life_seconds) / 2);
    RETURN_IF_ERROR(ForEach(members_.size(), [this](size_t n) { return Renew(n); }));
    RETURN_IF_ERROR(Step(ca::v1::RotateRequest::DRAIN));
    RETURN_IF_ERROR(JudgeAll());
    RETURN_IF_ERROR(Step(ca::v1::RotateRequest::DROP));
    const absl::Duration begun = Uptime();
    while (Uptime() - begun < kPatience) {
      ASSIGN_OR_RETURN(const ca::v1::Rotation now,
                       Call(admin_, &AdminStub::GetRotation, ca::v1::GetRotationRequest()));
      if (now.step() == ca::v1::DONE) return JudgeAll();
      Pause(kBetweenLooks);
    }
    return absl::DeadlineExceededError("the rotation does not end");
  }

  const Counts& counts() const { return counts_; }

 private:
  // As soon as its gate opens.
  absl::Status Step(ca::v1::RotateRequest::Action action) {
    ca::v1::RotateRequest request;
    request.set_action(action);
    if (action == ca::v1::RotateRequest::PREPARE) request.set_what("issuer");
    const absl::Duration begun = Uptime();
    while (true) {
      const absl::Status done = Call(admin_, &AdminStub::Rotate, request).status();
      const bool waits =
          absl::IsFailedPrecondition(done) && action != ca::v1::RotateRequest::PREPARE;
      if (!waits) return done;
      if (Uptime() - begun > kPatience) return done;
      Pause(kBetweenLooks);
    }
  }

  absl::Status Issue(Member* member) {
    ca::v1::IssueRequest request;
    for (const std::string& id : identities_) {
      ASSIGN_OR_RETURN(const x509::PrivateKey key,
                       x509::PrivateKey::Generate(x509::KeyType::kP256));
      ca::v1::IssueItem* item = request.add_items();
      item->set_identity_id(id);
      ASSIGN_OR_RETURN(*item->mutable_certificate_request(), x509::MakeCertificateRequest(key));
    }
    ASSIGN_OR_RETURN(const ca::v1::IssueResponse response,
                     Call(*member->node->stub, &ca::v1::NodeService::Stub::Issue, request));
    member->services.clear();
    for (const ca::v1::IssueResult& result : response.results()) {
      if (result.code() != 0) {
        ++counts_.refused;
        continue;
      }
      const std::vector<std::string> ders(result.chain().begin(), result.chain().end());
      ASSIGN_OR_RETURN(x509::Chain chain, x509::ParseDerChain(ders));
      member->services.push_back(std::move(chain));
      ++counts_.certificates;
    }
    return absl::OkStatus();
  }

  // The node's own certificate, with it a connection and a stream, and those of its services.
  absl::Status Renew(size_t n) {
    Member& member = members_[n];
    member.node->trust = member.stream->trust();
    ASSIGN_OR_RETURN(member.node, Renewed(*member.node, load_.ca));
    member.stream = NodeStream::Open(*member.node);
    RETURN_IF_ERROR(member.stream->WaitAcknowledged(1, kPatience));
    ++counts_.certificates;
    return Issue(&member);
  }

  absl::Status JudgeAll() {
    return ForEach(members_.size(), [this](size_t n) {
      const trust::TrustHeld judge =
          members_[(n + members_.size() / 2) % members_.size()].stream->trust();
      for (const x509::Chain& chain : members_[n].services) {
        ++counts_.judged;
        const x509::PathResult path = x509::ValidatePath({.chain = chain,
                                                          .anchors = judge.state->anchors(),
                                                          .candidates = judge.state->issuers(),
                                                          .now = base::SystemClock().Now(),
                                                          .skew = judge.state->skew()});
        if (!path.ok() || !judge.state->IsIssuerPinned(path.path[1].public_key().pin())) {
          ++counts_.refused;
        }
      }
      return absl::OkStatus();
    });
  }

  AdminStub& admin_;
  const RotationLoad load_;
  std::vector<std::string> identities_;
  std::vector<Member> members_;
  Counts counts_;
};

}  // namespace

absl::Status RunRotationLoad(const RotationLoad& load) {
  const std::unique_ptr<AdminStub> admin = ConnectToAdmin(load.admin_socket);
  Rotation rotation(*admin, load);
  RETURN_IF_ERROR(rotation.Prepare());
  if (!NextRound()) return absl::OkStatus();
  const uint64_t before = rotation.counts().certificates;
  const absl::Duration begun = Uptime();
  RETURN_IF_ERROR(rotation.Run());
  Say({{"nodes", load.count},
       {"certificates", rotation.counts().certificates - before},
       {"judged", rotation.counts().judged.load()},
       {"refused", rotation.counts().refused.load()},
       {"seconds", absl::ToDoubleSeconds(Uptime() - begun)}});
  return absl::OkStatus();
}

}  // namespace linchpin::bench
