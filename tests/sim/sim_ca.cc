// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/sim/sim_ca.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <variant>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "ca/core/authorities.h"
#include "ca/core/issuing.h"
#include "ca/core/new_authorities.h"
#include "trust/pin_set.h"
#include "trust/trust_acceptance.h"

namespace linchpin::sim {
namespace {

constexpr absl::Duration kDisk = absl::Milliseconds(8);
constexpr uint64_t kFaultOneIn = 60;

ca::CoreOptions Options() {
  ca::Profile profile{.trust_domain = *trust::TrustDomain::FromName("sim.example")};
  profile.leaf_ttl = absl::Minutes(8);
  profile.node_ttl = absl::Minutes(12);
  return {.profile = profile};
}

}  // namespace

SimCa::SimCa(World& world, absl::Duration clock_offset)
    : world_(world),
      clock_offset_(clock_offset),
      options_(Options()),
      core_random_(world.random().Next()) {}

void SimCa::Start() {
  ++life_;
  if (store_.List("")->records.empty()) FirstStart();
  auto core = ca::CaCore::Make(options_, *store_.List(""), core_random_);
  if (!core.ok()) return world_.Broken("the CA starts", core.status().ToString());
  core_ = *std::move(core);
  if (core_->registry().log_head().entries() > logged_.size()) {
    world_.Broken("what the store vouches for is in the log", "the log is shorter");
  }
  world_.Say("CA up");
  ReadStore();
  Step(ca::event::Started{ReadLog()});
  Tick();
}

ca::Outstanding SimCa::ReadLog() {
  const absl::Time kept = clock() - absl::Minutes(5);  // by everybody's clock
  const auto expired = [now = absl::ToUnixSeconds(kept)](const ca::v1::LogEntry& entry) {
    return entry.not_after() < now;
  };
  std::erase_if(log_, expired);
  std::erase_if(issued_, expired);
  ca::Outstanding outstanding;
  for (const ca::v1::LogEntry& entry : log_) {
    if (entry.node_id().empty()) continue;  // the CA's own
    outstanding.Issued(entry.node_id(), entry.issuer_key_sha256(),
                       absl::FromUnixSeconds(entry.not_after()));
  }
  return outstanding;
}

std::optional<std::string> SimCa::AnyServiceId() {
  if (stored_.identities().empty()) return std::nullopt;
  auto it = stored_.identities().begin();
  std::advance(it, world_.random().Below(stored_.identities().size()));
  return it->second.record.identity().spiffe_id();
}

std::optional<std::string> SimCa::AnySerial() {
  if (log_.empty()) return std::nullopt;
  const ca::v1::LogEntry& entry = log_[world_.random().Below(log_.size())];
  const bool of_service = !absl::StrContains(entry.spiffe_id(), "/linchpin/");
  if (!of_service || entry.not_after() <= absl::ToUnixSeconds(clock())) return std::nullopt;
  return entry.serial();
}

bool SimCa::HasValidThrough(const std::string& node_id) const {
  const int64_t now = absl::ToUnixSeconds(world_.now());
  return std::any_of(issued_.begin(), issued_.end(), [&](const ca::v1::LogEntry& entry) {
    return entry.node_id() == node_id && entry.not_after() > now;
  });
}

void SimCa::FirstStart() {
  const auto make = [this](const char* name) { return *keys_.Create(name, x509::KeyType::kP256); };
  const ca::FirstKeys keys{make(ca::kRootKeyName), make(ca::kActiveKeyName),
                           make(ca::kBackupKeyName)};
  const auto records = ca::FirstRecords(options_.profile, keys, clock(), core_random_);
  if (!records.ok() || !store_.Commit(*records).ok()) {
    world_.Broken("the CA starts", std::string(records.status().message()));
  }
}

bool SimCa::MayPutBack(const Copy& copy) {
  const auto vital = [](const ca::Store::Listing& listing) {
    std::map<std::string, std::string> values;
    for (const ca::Record& record : listing.records) {
      const bool is_vital = absl::StartsWith(record.key, ca::kAuthorityPrefix) ||
                            absl::StartsWith(record.key, "rotation/");
      if (is_vital) values[record.key] = record.value;
      state::v1::TrustRecord trust;
      if (record.key != ca::kTrustKey || !trust.ParseFromString(record.value)) continue;
      for (const auto& set : trust.pin_sets()) values[set.payload()] = "";
    }
    return values;
  };
  return vital(copy.store) == vital(*store_.List(""));
}

void SimCa::PutBack(const Copy& copy) {
  world_.Say(absl::StrCat("the CA's store is put back from a copy of revision ", copy.store.at));
  std::map<std::string, std::optional<std::string>> values;
  const ca::Store::Listing lost = *store_.List("");
  for (const ca::Record& record : lost.records) values[record.key] = std::nullopt;
  for (const ca::Record& record : copy.store.records) values[record.key] = record.value;
  std::vector<ca::Write> batch;
  const auto commit = [&] {
    const auto stored = store_.Commit(std::exchange(batch, {}));
    if (!stored.ok()) world_.Broken("a copy can be put back", stored.status().ToString());
  };
  for (auto& [key, value] : values) {
    batch.push_back({.key = key, .value = std::move(value), .expected = std::nullopt});
    if (batch.size() == ca::Store::kMaxBatch) commit();
  }
  if (!batch.empty()) commit();
  log_ = copy.log;
  offered_.clear();
  history_.BeginLife();
}

void SimCa::Crash() {
  world_.Say("CA killed");
  ++life_;
  core_.reset();
  calls_.clear();
  auto sessions = std::move(sessions_);
  sessions_.clear();
  context_.reset();
  serving_chain_.clear();
  serving_keys_ = {};
  for (auto& [id, session] : sessions) session.closed(absl::UnavailableError("the CA is gone"));
}

trust::RawChain SimCa::shown() const {
  trust::RawChain shown;
  for (const x509::Certificate& certificate : serving_chain_) shown.push_back(certificate.der());
  return liar_ == nullptr ? shown : liar_->Shown(shown);
}

void SimCa::Call(const std::function<ca::Event(ca::CallId)>& make, Reply reply) {
  const ca::CallId call = ++last_id_;
  calls_[call] = std::move(reply);
  Step(make(call));
}

ca::SessionId SimCa::OpenSession(const ca::NodeCaller& node, const ca::v1::Hello& hello,
                                 Session session) {
  const ca::SessionId id = ++last_id_;
  sessions_[id] = std::move(session);
  // Who wants to lie says all that he can.
  Step(ca::event::NodeHello{id, node, lies() ? ca::v1::Hello() : hello});
  return id;
}

void SimCa::Tell(ca::Event event) {
  if (up()) Step(std::move(event));
}

void SimCa::Leave(ca::SessionId session) {
  if (sessions_.erase(session) > 0) Tell(ca::event::NodeGone{session});
}

void SimCa::Step(ca::Event event) {
  for (const ca::Action& action : core_->Step(clock(), std::move(event))) {
    std::visit([&](const auto& a) { Do(a); }, action);
    if (world_.broken()) return;
  }
}

void SimCa::Later(std::function<void()> work) {
  world_.After(world_.UpTo(kDisk), [this, life = life_, work = std::move(work)] {
    if (life == life_) work();
  });
}

void SimCa::ReadStore() {
  auto registry = ca::Registry::FromListing(*store_.List(""));
  if (!registry.ok()) return world_.Broken("the store can be read", registry.status().ToString());
  stored_ = *std::move(registry);
  history_.Record(stored_);
}

void SimCa::Record(const std::vector<ca::Write>& batch, ca::Revision revision) {
  const absl::Status applied = stored_.Apply(batch, revision);
  if (!applied.ok()) return world_.Broken("the store can be read", applied.ToString());
  history_.Record(stored_);
}

void SimCa::Do(const ca::action::Commit& action) {
  Later([this, action] {
    const bool fault = faulty_ && world_.OneIn(kFaultOneIn);
    if (fault && world_.OneIn(2)) {
      return Step(ca::event::Committed{action.ticket, absl::UnavailableError("not applied")});
    }
    absl::StatusOr<ca::Revision> result = store_.Commit(action.batch);
    if (result.ok()) Record(action.batch, *result);
    if (fault) result = absl::UnavailableError("applied, but nobody knows");
    Later([this, action, result] { Step(ca::event::Committed{action.ticket, result}); });
  });
}

absl::StatusOr<x509::LeafTemplate> SimCa::TemplateOf(const x509::Certificate& issuer,
                                                     const std::string& key_name) {
  const auto it = templates_.find(key_name);
  if (it != templates_.end() && it->second.issuer() == issuer) return it->second;
  const auto key = keys_.Open(key_name);
  if (!key.ok()) return key.status();
  auto made = x509::LeafTemplate::Make(issuer, *key);
  if (made.ok()) templates_.insert_or_assign(key_name, *made);
  return made;
}

void SimCa::Do(const ca::action::SignAndLog& action) {
  Later([this, action] {
    if (faulty_ && world_.OneIn(kFaultOneIn)) {
      return Step(ca::event::Issued{action.ticket, absl::UnavailableError("the signer is away")});
    }
    const auto issuer = TemplateOf(action.issuer, action.key_name);
    if (!issuer.ok()) return Step(ca::event::Issued{action.ticket, issuer.status()});
    auto made = ca::MakeCertificates(action.orders, *issuer, clock());
    if (!made.ok()) return Step(ca::event::Issued{action.ticket, made.status()});
    // A crash between here and the reply: the log has what nobody received.
    for (const ca::v1::LogEntry& entry : made->entries) {
      logged_.insert(entry.certificate_sha256());
      log_.push_back(entry);
      issued_.push_back(entry);
    }
    Later([this, action, certificates = made->certificates] {
      Step(ca::event::Issued{action.ticket, certificates});
    });
  });
}

void SimCa::Do(const ca::action::Reload&) {
  Later([this] { Step(ca::event::Reloaded{store_.List("")}); });
}

void SimCa::Do(const ca::action::Reply& action) {
  auto call = calls_.extract(action.call);
  if (call.empty()) return world_.Broken("a call is answered once", absl::StrCat(action.call));
  call.mapped()(action.status, lies() ? liar_->Distort(action.message) : action.message);
}

void SimCa::Do(const ca::action::Push& action) {
  if (auto it = sessions_.find(action.session); it != sessions_.end())
    it->second.push(
        lies() ? std::static_pointer_cast<const ca::v1::CaMessage>(liar_->Distort(action.message))
               : action.message);
}

void SimCa::Do(const ca::action::CloseSession& action) {
  auto session = sessions_.extract(action.session);
  if (!session.empty()) session.mapped().closed(action.status);
}

void SimCa::Do(const ca::action::MakeServingKey&) {
  Later([this] {
    auto key = *x509::PrivateKey::Generate(x509::KeyType::kP256);
    Step(ca::event::ServingKeyMade{serving_keys_.Made(std::move(key))});
  });
}

void SimCa::Do(const ca::action::UseServingCertificate& action) {
  if (!serving_keys_.Use(action.chain.front())) {
    return world_.Broken("the CA can serve", "the key of its certificate is gone");
  }
  serving_chain_ = action.chain;
  UseContext();
}

void SimCa::Do(const ca::action::UseTrust& action) {
  trust_ = action.trust;
  const auto offer = ca::TrustMessage(core_->registry(), core_->authorities(), 0);
  offered_.emplace(offer.epoch(), trust::OfferDigest(offer));
  UseContext();
}

void SimCa::UseContext() {
  if (trust_ == nullptr || serving_chain_.empty()) return;
  auto context = trust::MtlsContext::Make({.chain = serving_chain_,
                                           .key = serving_keys_.in_use(),
                                           .trust = {{trust_domain(), trust_}},
                                           .policy = {}});
  if (!context.ok()) return world_.Broken("the CA can serve", context.status().ToString());
  context_ = *context;
}

void SimCa::Do(const ca::action::Prove& action) {
  Later([this, action] {
    auto key = keys_.Open(action.key_name);
    if (!key.ok()) return Step(ca::event::PossessionProved{action.call, key.status()});
    Step(ca::event::PossessionProved{action.call,
                                     trust::ProvePossession(trust_domain(), *key, clock())});
  });
}

void SimCa::Do(const ca::action::MakeAuthorities& action) {
  Later([this, action] {
    ca::KeysByName keys;
    if (const auto root = keys_.Open(action.plan.root_key_name); root.ok()) {
      keys.emplace(action.plan.root_key_name, *root);
    }
    for (const auto& [name, key] : action.plan.given) (void)keys_.Import(name, key);
    for (const ca::NewAuthority& wanted : action.plan.authorities) {
      if (wanted.elsewhere.has_value()) continue;
      auto key = keys_.Create(wanted.key_name, x509::KeyType::kP256);
      if (!key.ok()) key = keys_.Open(wanted.key_name);
      keys.emplace(wanted.key_name, *key);
    }
    Step(ca::event::AuthoritiesMade{action.call, action.who, action.request,
                                    ca::MakeAuthorities(action.plan, keys, clock(), core_random_)});
  });
}

void SimCa::Do(const ca::action::FindIssued& action) {
  Later([this, action] {
    ca::IssuedMatches found;
    for (const ca::v1::LogEntry& entry : log_) found.Look(action.asked, entry, clock());
    Step(ca::event::IssuedFound{action.call, action.who, action.asked, std::move(found)});
  });
}

void SimCa::Do(const ca::action::Note& action) {
  if (action.warning) world_.Say(absl::StrCat("CA: ", action.message));
}

void SimCa::Tick() {
  // The hash is another for each length, as that of a chain.
  Step(ca::event::Tick{.log_entries = logged_.size(), .log_head = absl::StrCat(logged_.size())});
  world_.After(absl::Seconds(2), [this, life = life_] {
    if (life == life_) Tick();
  });
}

}  // namespace linchpin::sim
