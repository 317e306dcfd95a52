// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/sim/simulation.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "tests/sim/audit.h"
#include "tests/sim/disaster.h"
#include "tests/sim/evil_ca.h"
#include "tests/sim/operator.h"
#include "tests/sim/rotator.h"
#include "tests/sim/sim_ca.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/world.h"

namespace linchpin::sim {
namespace {

constexpr absl::Duration kLength = absl::Minutes(40);
// Longer than every backoff, report interval and lease.
constexpr absl::Duration kSettling = absl::Minutes(2);
constexpr absl::Duration kLongAway = absl::Minutes(30);
constexpr uint64_t kLongAwayOneIn = 6;
// From when on who was shut out by pins that expired looks for a newer set, and longer.
constexpr absl::Duration kToComeBack = absl::Minutes(3);
constexpr int kMostRenewals = 3;
constexpr absl::Duration kToOpenAStream = absl::Seconds(1);
constexpr uint64_t kImpersonatedOneIn = 4;
constexpr absl::Duration kTakenOver = absl::Minutes(3);
constexpr uint64_t kRebootOneIn = 4;
constexpr uint64_t kJumpOneIn = 5;
constexpr absl::Duration kLongestJump = absl::Hours(3);
constexpr double kNodesForLength = 100;  // the stories of more are shorter
constexpr absl::Duration kShortest = absl::Minutes(12);
constexpr size_t kSetUp = 300;      // services of a large fleet
constexpr size_t kFew = 4;          // nodes at most, unless more are asked for
constexpr size_t kSampled = 10000;  // handshakes at the end, where all pairs would be too many

class Fleet {
 public:
  explicit Fleet(const Story& story)
      : world_(story.seed),
        node_count_(story.nodes > 0 ? story.nodes : 1 + world_.random().Below(kFew)),
        ca_(world_, Offset()),
        audit_(world_, ca_, evil_),
        operator_(world_, ca_, signers_, Names()) {
    for (size_t i = 0; i < node_count_; ++i) {
      nodes_.push_back(std::make_unique<SimNode>(
          world_, ca_,
          SimNode::Parts{
              .name = absl::StrCat("node", i),
              .clock_offset = Offset(),
              .end_connection = [this](tls::ConnectionId id) { audit_.EndConnection(id); },
              .signers = signers_}));
    }
    const std::vector<std::string> names = Names();
    rotator_.set_knows_all([this] { return disaster_.knows_all(); });
    if (is_large()) operator_.set_node_of([this](const std::string& name) { return NodeOf(name); });
    for (size_t i = 0; i < names.size(); ++i) {
      services_.push_back(
          nodes_[i % node_count_]->AddService(absl::StrCat("sim:service:", names[i])));
    }
  }

  Outcome Run() {
    ca_.Start();
    for (auto& node : nodes_) Invite(*node);
    for (SimService* service : services_) service->Start();
    if (is_large()) SetUp(0);
    // Nobody asks anything of a CA of which he knows that it was taken over, or put back.
    Every(absl::Seconds(6), [this] {
      if (!odd()) operator_.Act();
    });
    Every(absl::Seconds(8), [this] {
      if (!odd()) rotator_.Act();
    });
    Every(absl::Minutes(10), [this] { TakeOver(); });
    Every(absl::Minutes(20), [this] {
      if (!odd()) disaster_.DeclareAgain([] {});  // without need: it does no harm
    });
    Every(absl::Minutes(1), [this] { disaster_.MakeCopy(); });
    Every(absl::Minutes(40), [this] { LoseDisk(); });
    Every(absl::Milliseconds(800), [this] { AnyHandshake(); });
    Every(absl::Seconds(10), [this] {
      if (odd()) return;
      audit_.CheckCoverage(nodes_);
      audit_.CheckPolicy(nodes_);
    });
    Every(absl::Minutes(5), [this] { CrashCa(); });
    EachOf(absl::Minutes(2), [this] { CrashAgent(); });
    EachOf(absl::Minutes(2), [this] { CrashService(); });
    EachOf(absl::Minutes(3), [this] { CutOff(); });
    EachOf(absl::Minutes(6), [this] { SetClock(); });
    EachOf(absl::Minutes(4), [this] { PutFiles(); });
    world_.RunUntil(world_.now() + Length());
    Settle();
    return {.clean = !world_.broken(),
            .report = world_.report(),
            .steps = world_.steps(),
            .passed = audit_.passed(),
            .refused = audit_.refused(),
            .softened = audit_.softened(),
            .lies = evil_.lies(),
            .rotations = rotator_.done(),
            .disasters = disaster_.count()};
  }

 private:
  // Within the allowance that certificates and contexts give.
  absl::Duration Offset() { return world_.UpTo(absl::Seconds(40)) - absl::Seconds(20); }

  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (size_t i = 0; i < 2 * node_count_; ++i) names.push_back(absl::StrCat("service", i));
    return names;
  }

  bool odd() const { return taken_over_ || disaster_.untold(); }
  bool is_large() const { return node_count_ > kFew; }

  absl::Duration Length() const {
    return std::max(kShortest, kLength * std::min(1.0, kNodesForLength / double(node_count_)));
  }

  // Of a large fleet: some services, each on its node, of which each may call the next.
  void SetUp(size_t done) {
    const size_t step = done / 2;
    if (step + 1 >= std::min(services_.size(), kSetUp)) return;
    world_.After(absl::Milliseconds(20), [this, done, step] {
      if (settling_) return;
      const bool ready = ca_.up() && !operator_.busy() && !taken_over_;
      if (!ready) return SetUp(done);
      const std::vector<std::string> names = Names();
      if (done % 2 == 0) {
        operator_.Register(names[step]);
      } else {
        operator_.Allow({names[step], names[step + 1]});
      }
      SetUp(done + 1);
    });
  }

  // At random intervals around `period`, until the end of the story.
  void Every(absl::Duration period, std::function<void()> work) {
    world_.After(world_.UpTo(2 * period), [this, period, work = std::move(work)] {
      if (settling_) return;
      work();
      Every(period, work);
    });
  }

  // As often a node, however many there are.
  void EachOf(absl::Duration period, std::function<void()> work) {
    Every(period * kFew / std::max(kFew, node_count_), std::move(work));
  }

  void Invite(SimNode& node) {
    if (settled_invitations_.contains(node.name())) return;
    if (is_large() && operator_.busy()) {  // he makes one token after another
      world_.After(world_.UpTo(absl::Seconds(2)), [this, &node] { Invite(node); });
      return;
    }
    operator_.MakeToken(node.name(), [this, &node](const std::string& token) {
      settled_invitations_.insert(node.name());
      node.Start(token);
    });
    world_.After(absl::Seconds(2), [this, &node] { Invite(node); });
  }

  void AnyHandshake() {
    SimService* caller = services_[world_.random().Below(services_.size())];
    SimService* callee = services_[world_.random().Below(services_.size())];
    if (is_large() && !world_.OneIn(4)) {
      const size_t first = world_.random().Below(std::min(services_.size(), kSetUp) - 1);
      caller = services_[first];
      callee = services_[first + 1];
    }
    audit_.Handshake(*caller, *callee);
    if (world_.OneIn(kImpersonatedOneIn)) audit_.Impersonate(*caller, *callee);
  }

  void CrashCa() {
    if (!ca_.up()) return;
    ca_.Crash();
    operator_.CaDied();
    world_.After(world_.UpTo(absl::Seconds(30)), [this] { ReviveCa(); });
  }

  void ReviveCa() {
    if (ca_.up()) return;
    ca_.Start();
    operator_.CheckKept();
  }

  void LoseDisk() {
    if (taken_over_ || !disaster_.Strike(is_large() || world_.OneIn(2))) return;
    world_.After(world_.UpTo(absl::Seconds(30)), [this] { ReviveCa(); });
  }

  void RestartCa() {
    if (ca_.up()) ca_.Crash();
    operator_.CaDied();
    ReviveCa();
  }

  void TakeOver() {
    if (odd() || !ca_.up() || !PinSigners::InForce(ca_).has_value()) return;
    world_.Say("somebody takes the CA's place");
    taken_over_ = true;
    evil_.Begin(static_cast<EvilCa::Means>(world_.random().Below(3)));
    RestartCa();
    world_.After(world_.UpTo(kTakenOver), [this] { DriveOut(); });
  }

  void DriveOut() {
    if (!ca_.lies()) return;
    world_.Say("the true CA is back");
    ca_.set_liar(nullptr);
    RestartCa();
    if (!evil_.was_heard()) taken_over_ = false;  // nothing is to be said
    DeclareRestored();
  }

  // Until the CA says that it has done so.
  void DeclareRestored() {
    if (!taken_over_ || ca_.lies()) return;  // or again by somebody else
    disaster_.DeclareAgain([this] { taken_over_ = false; });
    world_.After(absl::Seconds(3), [this] { DeclareRestored(); });
  }

  void CrashAgent() {
    SimNode& node = *nodes_[world_.random().Below(nodes_.size())];
    if (!node.up()) return;
    if (world_.OneIn(kRebootOneIn)) {
      for (auto& service : node.services()) CrashService(service.get());
      node.Reboot();
    } else {
      node.Crash();
    }
    world_.After(world_.UpTo(absl::Seconds(15)), [this, &node] { ReviveAgent(node); });
  }

  void ReviveAgent(SimNode& node) {
    if (!node.up() && settled_invitations_.contains(node.name())) node.Start("");
  }

  void CrashService() { CrashService(services_[world_.random().Below(services_.size())]); }

  void CrashService(SimService* service) {
    if (!service->running()) return;
    SimNode& node = NodeOf(service);
    const std::string process = service->process();
    for (const auto& [id, live] : std::map(service->live())) audit_.EndConnection(id);
    node.Exited(process);
    service->Crash();
    world_.After(world_.UpTo(absl::Seconds(5)), [service] {
      if (!service->running()) service->Start();
    });
  }

  std::string NodeOf(const std::string& name) const {
    for (const auto& node : nodes_) {
      for (const auto& service : node->services()) {
        if (service->selector() == absl::StrCat("sim:service:", name)) return node->node_id();
      }
    }
    return "";
  }

  SimNode& NodeOf(const SimService* service) {
    for (auto& node : nodes_) {
      for (auto& one : node->services()) {
        if (one.get() == service) return *node;
      }
    }
    return *nodes_[0];
  }

  // For a moment, or for longer than everything that it has is valid.
  void CutOff() {
    SimNode& node = *nodes_[world_.random().Below(nodes_.size())];
    const absl::Duration most = world_.OneIn(kLongAwayOneIn) ? kLongAway : absl::Seconds(40);
    node.set_partitioned(true);
    world_.After(world_.UpTo(most), [&node] { node.set_partitioned(false); });
  }

  // A little, or by hours until somebody sees it.
  void SetClock() {
    SimNode& node = *nodes_[world_.random().Below(nodes_.size())];
    node.set_clock_offset(Offset());
    if (!world_.OneIn(kJumpOneIn)) return;
    world_.Say(absl::StrCat(node.name(), ": its clock jumps"));
    node.set_clock_offset(world_.UpTo(2 * kLongestJump) - kLongestJump);
    world_.After(world_.UpTo(absl::Minutes(2)), [this, &node] { node.set_clock_offset(Offset()); });
  }

  // What is published already, or a relax document that the CA never sees.
  void PutFiles() {
    SimNode& node = *nodes_[world_.random().Below(nodes_.size())];
    trust::v1::PinDocuments documents;
    documents.set_trust_domain(ca_.trust_domain().name());
    *documents.mutable_pin_sets() = ca_.stored().trust().record.pin_sets();
    if (const auto relax = world_.OneIn(3) ? signers_.Relax(ca_) : std::nullopt) {
      *documents.mutable_relax() = *relax;
    }
    if (const auto statement = world_.OneIn(2) ? signers_.Fresh(ca_) : std::nullopt) {
      *documents.mutable_freshness() = *statement;
    }
    node.PutFiles(documents);
  }

  void Settle() {
    if (world_.broken()) return;
    world_.Say("nothing fails any more");
    settling_ = true;
    ca_.set_faulty(false);
    for (auto& node : nodes_) {
      node->set_faulty(false);
      node->set_clock_offset(Offset());
      node->set_partitioned(false);
    }
    ReviveCa();
    DriveOut();
    for (auto& node : nodes_) ReviveAgent(*node);
    for (SimService* service : services_) {
      if (!service->running()) service->Start();
    }
    signers_.set_calm();
    for (int i = 0; i < kMostRenewals && PinSigners::RunsOut(ca_); ++i) {
      operator_.PublishPins();
      world_.RunUntil(world_.now() + kToComeBack);
    }
    world_.RunUntil(world_.now() + (disaster_.needs_time() ? 2 : 1) * kSettling);
    AwaitStreams();
    LendAHand();
    // A change may just have been made, and a busy service takes its time.
    if (!audit_.WhyNotCovered(false).empty() || !audit_.WhyNotCovered(true).empty()) {
      world_.RunUntil(world_.now() + kSettling);
    }
    if (world_.broken()) return;
    audit_.set_settled();
    operator_.CheckKept();
    audit_.CheckSettled(nodes_, operator_);
    if (services_.size() > 2 * kFew) {
      for (size_t i = 0; i < kSampled; ++i) AnyHandshake();
      return;
    }
    for (SimService* caller : services_) {
      for (SimService* callee : services_) audit_.Handshake(*caller, *callee);
    }
  }

  // Under set 0 nobody signed which issuer and root come next: who was away until then needs a
  // person (docs/decisions/0026), who in the end always gives it an empty data directory and a
  // token.
  void LendAHand() {
    bool lent = false;
    for (auto& node : nodes_) {
      if (!node->up() || node->core().connected() || !node->IsUnderSetZero()) continue;
      node->Empty();
      settled_invitations_.erase(node->name());
      Invite(*node);
      lent = true;
    }
    if (!lent) return;
    world_.RunUntil(world_.now() + kSettling);
    AwaitStreams();
  }

  // Who has renewed in this very moment opens its stream anew: no story ends in between.
  void AwaitStreams() {
    const auto away = [](const auto& node) { return node->up() && !node->core().connected(); };
    if (absl::c_any_of(nodes_, away)) world_.RunUntil(world_.now() + kToOpenAStream);
  }

  World world_;
  const size_t node_count_;
  SimCa ca_;
  PinSigners signers_{world_};
  EvilCa evil_{world_, ca_, signers_};
  Audit audit_;
  Operator operator_;
  Rotator rotator_{world_, ca_, operator_, [this](const ca::v1::Rotation& rotation) {
                     audit_.CheckRotation(nodes_, rotation);
                   }};
  std::vector<std::unique_ptr<SimNode>> nodes_;
  Disaster disaster_{world_, ca_, operator_, nodes_};
  std::vector<SimService*> services_;
  std::set<std::string> settled_invitations_;
  bool settling_ = false;
  bool taken_over_ = false;  // and not said to be restored yet
};

}  // namespace

Outcome Simulate(const Story& story) { return Fleet(story).Run(); }

}  // namespace linchpin::sim
