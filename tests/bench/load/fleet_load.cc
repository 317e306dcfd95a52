// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "tests/bench/load/fleet.h"
#include "tests/bench/load/node.h"
#include "tests/bench/load/pin_set_signing.h"
#include "tests/bench/load/protocol.h"
#include "tests/bench/load/scenarios.h"

namespace linchpin::bench {
namespace {

constexpr int kJoiners = 4;
constexpr absl::Duration kPatience = absl::Minutes(1);

absl::StatusOr<std::unique_ptr<NodeStream>> JoinAndOpen(AdminStub& admin, const FleetLoad& load,
                                                        int number) {
  ASSIGN_OR_RETURN(const Node node, Join(admin, load.ca, absl::StrCat("fleet-", number)));
  std::unique_ptr<NodeStream> stream = NodeStream::Open(node);
  RETURN_IF_ERROR(stream->WaitAcknowledged(1, kPatience));
  return stream;
}

absl::StatusOr<std::vector<std::unique_ptr<NodeStream>>> OpenAll(AdminStub& admin,
                                                                 const FleetLoad& load) {
  std::vector<absl::StatusOr<std::unique_ptr<NodeStream>>> opened(static_cast<size_t>(load.count));
  std::atomic<size_t> next = 0;
  std::vector<std::thread> joiners;
  for (int i = 0; i < kJoiners; ++i) {
    joiners.emplace_back([&] {
      for (size_t n = next++; n < opened.size(); n = next++) {
        opened[n] = JoinAndOpen(admin, load, static_cast<int>(n));
      }
    });
  }
  for (std::thread& joiner : joiners) joiner.join();
  std::vector<std::unique_ptr<NodeStream>> streams;
  for (auto& stream : opened) {
    if (!stream.ok()) return stream.status();
    streams.push_back(*std::move(stream));
  }
  return streams;
}

absl::Status WaitUntilKnown(AdminStub& admin, const std::function<bool(const ca::v1::Node&)>& has) {
  const absl::Duration begun = Uptime();
  while (Uptime() - begun < kPatience) {
    ASSIGN_OR_RETURN(const ca::v1::NodeList list,
                     Call(admin, &AdminStub::ListNodes, ca::v1::ListNodesRequest()));
    if (std::all_of(list.nodes().begin(), list.nodes().end(), has)) return absl::OkStatus();
  }
  return absl::DeadlineExceededError("the CA does not know of every acknowledgement");
}

// What one round asks of the CA, and what then tells that a node has it.
struct Change {
  std::function<absl::Status(NodeStream&)> wait;
  std::function<bool(const ca::v1::Node&)> known;
};

absl::StatusOr<Change> AllowOneMore(AdminStub& admin, int number) {
  trust::v1::PeerRule rule;
  rule.set_from("spiffe://example.org/everywhere");
  rule.set_to(absl::StrCat("spiffe://example.org/peer/", number));
  ASSIGN_OR_RETURN(const ca::v1::PolicyChange change, Call(admin, &AdminStub::AllowPeer, rule));
  const uint64_t revision = change.revision();
  return Change{
      [revision](NodeStream& stream) { return stream.WaitAcknowledged(revision, kPatience); },
      [revision](const ca::v1::Node& node) { return node.revision_held() >= revision; }};
}

absl::StatusOr<Change> Publish(AdminStub& admin, PinSetSigning& signing) {
  ASSIGN_OR_RETURN(const ca::v1::PinSetPublished published, signing.PublishNext(admin));
  const uint64_t epoch = published.trust_epoch();
  return Change{[epoch](NodeStream& stream) { return stream.WaitHolds(epoch, kPatience); },
                [epoch](const ca::v1::Node& node) { return node.epoch_held() >= epoch; }};
}

}  // namespace

absl::Status RunFleetLoad(const FleetLoad& load) {
  const std::unique_ptr<AdminStub> admin = ConnectToAdmin(load.admin_socket);
  // Of every node, so that a change of its peers is news to all.
  ca::v1::Identity identity;
  identity.set_spiffe_id("spiffe://example.org/everywhere");
  identity.add_selectors("unix:uid:200000");
  identity.set_any_node(true);
  RETURN_IF_ERROR(Call(*admin, &AdminStub::CreateIdentity, identity).status());
  ASSIGN_OR_RETURN(const std::vector<std::unique_ptr<NodeStream>> streams, OpenAll(*admin, load));
  ASSIGN_OR_RETURN(PinSetSigning signing, PinSetSigning::Make());
  int number = 0;
  uint64_t messages = 0;
  const auto received = [&] {
    uint64_t sum = 0;
    for (const auto& stream : streams) sum += stream->messages();
    return sum - std::exchange(messages, sum);
  };
  (void)received();
  while (NextRound()) {
    const uint64_t unasked = received();  // since the last round ended
    const absl::Duration begun = Uptime();
    ASSIGN_OR_RETURN(const Change change,
                     load.trust ? Publish(*admin, signing) : AllowOneMore(*admin, ++number));
    absl::Duration last = begun;
    for (const auto& stream : streams) {
      RETURN_IF_ERROR(change.wait(*stream));
      last = std::max(last, stream->acknowledged_at());
    }
    RETURN_IF_ERROR(WaitUntilKnown(*admin, change.known));
    Say({{"nodes", streams.size()},
         {"sent_ms", Microseconds(last - begun) / 1e3},
         {"known_ms", Microseconds(Uptime() - begun) / 1e3},
         {"messages", received()},
         {"unasked", unasked}});
  }
  return absl::OkStatus();
}

}  // namespace linchpin::bench
