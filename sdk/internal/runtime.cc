// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "sdk/internal/runtime.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "base/random.h"
#include "sdk/internal/agent_stream.h"
#include "trust/trust_codec.h"
#include "x509/certificate.h"

namespace linchpin::tls {
namespace {

// So that a handshake does not wake the loop's thread.
constexpr absl::Duration kCountFor = absl::Milliseconds(100);

thread_local bool lent_goes = false;  // a LentRuntime lets go

void LogNotice(const Notice& notice) {
  switch (notice.kind) {
    case Notice::Kind::kIdentity:
    case Notice::Kind::kConnectionAge:
      return base::LogInfo(notice.text);
    default:
      return base::LogWarning(notice.text);
  }
}

CoreOptions MakeCoreOptions(x509::PathMemo* memo) {
  CoreOptions options;
  options.seed = base::RandomUint64(base::SystemRandom());
  options.memo = memo;
  return options;
}

Runtime::Options WithDefaults(Runtime::Options options) {
  if (options.observer == nullptr) options.observer = LogNotice;
  if (options.clock == nullptr) options.clock = &base::SystemClock();
  return options;
}

}  // namespace

PeerVerdict ToPeerVerdict(const trust::Verdict& verdict) {
  PeerVerdict out;
  out.allowed = verdict.allowed;
  if (verdict.peer) out.peer_id = verdict.peer->ToString();
  for (const trust::Finding& finding : verdict.findings) {
    if (finding.blocks && out.reason.empty()) {
      out.reason = trust::ReasonName(finding.reason);
      out.detail = finding.detail;
    } else if (verdict.allowed) {
      absl::StrAppend(&out.detail, out.detail.empty() ? "only reported: " : "; ",
                      trust::ReasonName(finding.reason), ": ", finding.detail);
    }
  }
  return out;
}

trust::RawChain ChainToKeep(const trust::Verdict& verdict) {
  trust::RawChain chain;
  for (const x509::Certificate& certificate : verdict.path) {
    if (!certificate.IsSelfIssued()) chain.push_back(certificate.der());
  }
  return chain;
}

std::vector<IdentityInfo> Describe(const InForce& contexts) {
  std::vector<IdentityInfo> out;
  for (const auto& context : contexts.decoded.contexts) {
    if (!context->has_certificate() || !context->id()) continue;
    const x509::CertificateFields& leaf = context->chain().front().fields();
    IdentityInfo info;
    info.spiffe_id = context->id()->ToString();
    info.serial = x509::SerialText(leaf.serial);
    info.issued_at = leaf.not_before;
    info.expires_at = leaf.not_after;
    info.trust_epoch = contexts.decoded.trust_epoch;
    info.trust_digest = absl::BytesToHexString(contexts.decoded.trust_digest);
    out.push_back(std::move(info));
  }
  return out;
}

void WipeKeysOf(Event* event) {
  if (auto* received = std::get_if<event::ContextsReceived>(event)) {
    trust::WipeKeys(&received->message);
  }
}

std::shared_ptr<Runtime> Runtime::Make(Options options) {
  return std::shared_ptr<Runtime>(new Runtime(std::move(options)), [](Runtime* runtime) {
    // The loop's thread cannot wait for its own end.
    if (lent_goes || runtime->loop_.InLoop()) {
      std::thread([runtime] { delete runtime; }).detach();
    } else {
      delete runtime;
    }
  });
}

LentRuntime::~LentRuntime() {
  lent_goes = true;
  runtime_.reset();
  lent_goes = false;
}

Runtime::Runtime(Options options)
    : options_(WithDefaults(std::move(options))),
      loop_(*options_.clock),
      core_(MakeCoreOptions(&memo_)) {
  stream_ = std::make_unique<AgentStream>(options_.socket, [this](Event event) {
    // gRPC's threads may not wait, and a lost event would be lost trust: kMaxExpendable keeps room.
    const auto held = x509::ShareWiped(std::move(event), WipeKeysOf);
    (void)loop_.Post([this, held] { Step(*held); });
  });
  (void)loop_.Post([this] { Step(event::Started{}); });
  thread_ = std::thread([this] { loop_.Run(); });
}

Runtime::~Runtime() {
  stream_->Shutdown();
  loop_.Stop();
  thread_.join();
}

std::shared_ptr<const InForce> Runtime::Snapshot() const {
  base::MutexLock lock(mutex_);
  return snapshot_;
}

absl::Status Runtime::WaitReady(absl::Duration timeout) const {
  base::MutexLock lock(mutex_);
  // Bounded: a chrono deadline overflows on an infinite one.
  const absl::Duration bounded = std::clamp(timeout, absl::ZeroDuration(), absl::Hours(24 * 365));
  const bool ready = changed_.wait_for(lock, absl::ToChronoNanoseconds(bounded),
                                       [this] { return snapshot_ != nullptr; });
  if (ready) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("no identity from the agent at ", options_.socket,
                                             " within ", absl::FormatDuration(timeout), ": ",
                                             problem_));
}

void Runtime::Judged(VerdictKey key) {
  bool first = false;
  {
    base::MutexLock lock(counts_mutex_);
    first = counts_.empty();
    counts_.Add(std::move(key), 1);
  }
  if (!first) return;
  // No room: they are lost, so that the next one tries again.
  if (loop_.PostAfter(kCountFor, [this] { HandOverCounts(); }) == 0) {
    base::MutexLock lock(counts_mutex_);
    counts_ = {};
  }
}

void Runtime::HandOverCounts() {
  event::Judged judged;
  {
    base::MutexLock lock(counts_mutex_);
    judged.counts = std::exchange(counts_, {});
  }
  Step(judged);
}

void Runtime::Notify(Notice notice) {
  if (expendable_.fetch_add(1) < kMaxExpendable) {
    const absl::Status posted = loop_.Post([this, notice = std::move(notice)] {
      --expendable_;
      Observe(notice);
    });
    if (posted.ok()) return;
  }
  --expendable_;
}

void Runtime::NotifyRefused(trust::Direction direction, const PeerVerdict& verdict) {
  const std::optional<uint64_t> unsaid = refusals_said_.Take(options_.clock->Uptime());
  if (!unsaid) return;
  Notice notice;
  notice.kind = Notice::Kind::kPeerRefused;
  notice.verdict = verdict;
  notice.text = absl::StrCat(
      direction == trust::Direction::kInbound ? "a client is refused: " : "a server is refused: ",
      verdict.ToString(), *unsaid == 0 ? "" : absl::StrCat(" (unsaid before it: ", *unsaid, ")"));
  Notify(std::move(notice));
}

absl::StatusOr<ConnectionId> Runtime::Watch(event::ConnectionOpened opened, Closed closed) {
  auto watched = std::make_shared<Watched>();
  watched->closed = std::move(closed);
  {
    base::MutexLock lock(mutex_);
    opened.id = next_id_++;
    watched_.emplace(opened.id, std::move(watched));
  }
  const ConnectionId id = opened.id;
  absl::Status posted = loop_.Post([this, opened = std::move(opened)] { Step(opened); });
  if (!posted.ok()) {
    base::MutexLock lock(mutex_);
    watched_.erase(id);
    return posted;
  }
  return id;
}

void Runtime::Unwatch(ConnectionId id) { Unwatch(id, !loop_.InLoop()); }

void Runtime::Forget(ConnectionId id) { Unwatch(id, false); }

void Runtime::Unwatch(ConnectionId id, bool wait) {
  base::MutexLock lock(mutex_);
  auto it = watched_.find(id);
  if (it == watched_.end()) return;
  std::shared_ptr<Watched> watched = it->second;
  watched_.erase(it);
  if (wait) changed_.wait(lock, [&] { return !watched->running; });
  lock.unlock();
  (void)loop_.Post([this, id] { Step(event::ConnectionClosed{id}); });
}

void Runtime::Step(const Event& event) {
  if (const auto* lost = std::get_if<event::StreamLost>(&event)) {
    const std::string why = absl::StrCat("the agent at ", options_.socket,
                                         " cannot be reached: ", lost->status.message());
    RememberProblem(why);
    Observe({Notice::Kind::kAgentLost, why, {}, {}});
  }
  for (const Action& action : core_.Step(Now(), event)) {
    std::visit([this](const auto& a) { Do(a); }, action);
  }
}

void Runtime::Do(action::OpenStream) { stream_->Open(); }

void Runtime::Do(const action::Swap& swap) {
  Notice notice;
  notice.kind = Notice::Kind::kIdentity;
  notice.identities = Describe(*swap.contexts);
  notice.text = absl::StrCat(
      "identity in force: ",
      absl::StrJoin(notice.identities, ", ", [](std::string* out, const IdentityInfo& info) {
        absl::StrAppend(out, info.spiffe_id, " serial ", info.serial, " until ",
                        absl::FormatTime(absl::RFC3339_sec, info.expires_at, absl::UTCTimeZone()));
      }));
  {
    base::MutexLock lock(mutex_);
    snapshot_ = swap.contexts;
  }
  changed_.notify_all();
  Observe(notice);
  // Not posted: nothing may come between the swap and its acknowledgement.
  Step(event::Swapped{swap.contexts->generation});
}

void Runtime::Do(const action::Report& report) { stream_->Report(report.request); }

void Runtime::Do(const action::CloseConnection& close) {
  std::shared_ptr<Watched> watched;
  {
    base::MutexLock lock(mutex_);
    auto it = watched_.find(close.id);
    if (it == watched_.end()) return;
    watched = it->second;
    watched->running = true;
  }
  Notice notice;
  if (close.verdict) {
    notice.kind = Notice::Kind::kPeerNoLongerAllowed;
    notice.verdict = ToPeerVerdict(*close.verdict);
    notice.text = absl::StrCat("closing a connection: ", notice.verdict.ToString());
  } else {
    notice.kind = Notice::Kind::kConnectionAge;
    notice.verdict.allowed = true;
    notice.text = "closing a connection: it has reached its greatest age";
  }
  watched->closed(notice.verdict);
  {
    base::MutexLock lock(mutex_);
    watched->running = false;
  }
  changed_.notify_all();
  Observe(notice);
}

void Runtime::Do(const action::RefusedMessage& refused) {
  const std::string why =
      absl::StrCat("the agent's message is refused: ", refused.status.message());
  RememberProblem(why);
  Observe({Notice::Kind::kMessageRefused, why, {}, {}});
}

void Runtime::Do(const action::NoIdentity& none) {
  const std::string why =
      absl::StrCat("the agent knows no identity for this process; it saw ",
                   none.selectors.empty() ? "no selectors" : absl::StrJoin(none.selectors, " "));
  RememberProblem(why);
  Observe({Notice::Kind::kNoIdentity, why, {}, {}});
}

void Runtime::Do(const action::SetTimer& timer) {
  loop_.Cancel(timer_);
  timer_ = loop_.PostAfter(std::max(timer.at - Now(), absl::ZeroDuration()),
                           [this] { Step(event::TimerFired{}); });
}

void Runtime::Observe(const Notice& notice) { options_.observer(notice); }

void Runtime::RememberProblem(const std::string& why) {
  base::MutexLock lock(mutex_);
  problem_ = why;
}

}  // namespace linchpin::tls
