// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Whole command lines against a CA and an agent of straw, over real sockets.
#include "cli/commands.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/durable_file.h"
#include "gmock/gmock.h"
#include "linchpin/agent/v1/mtls_context.grpc.pb.h"
#include "linchpin/ca/v1/admin.grpc.pb.h"
#include "tests/cli/contexts_fixture.h"
#include "tests/cli/pins_fixture.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::ptrdiff_t Lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

class StrawCa final : public ca::v1::AdminService::Service {
 public:
  using Context = grpc::ServerContext;

  grpc::Status GetAuthorities(Context*, const ca::v1::GetAuthoritiesRequest*,
                              ca::v1::Authorities* out) override {
    *out = pins.authorities;
    return grpc::Status::OK;
  }
  grpc::Status CreateJoinToken(Context*, const ca::v1::CreateJoinTokenRequest* request,
                               ca::v1::JoinToken* out) override {
    out->set_token(absl::StrCat("token-", request->node_name(), "-", request->ttl_seconds()));
    return grpc::Status::OK;
  }
  grpc::Status BanNode(Context*, const ca::v1::NodeRequest* request, ca::v1::Node* out) override {
    out->set_node_id(request->node_id());
    return grpc::Status::OK;
  }
  grpc::Status ListNodes(Context*, const ca::v1::ListNodesRequest*,
                         ca::v1::NodeList* out) override {
    for (const char* name : {"a", "b"}) {
      ca::v1::Node* node = out->add_nodes();
      node->set_node_id(absl::StrCat("spiffe://example.org/linchpin/node/", name));
      node->set_connected(*name == 'a');
      node->set_revision_held(*name == 'a' ? held++ : 0);
    }
    return grpc::Status::OK;
  }
  grpc::Status AllowPeer(Context*, const trust::v1::PeerRule* request,
                         ca::v1::PolicyChange* out) override {
    *out->mutable_rule() = *request;
    out->set_revision(7);
    return grpc::Status::OK;
  }
  grpc::Status CreateIdentity(Context*, const ca::v1::Identity* request,
                              ca::v1::Identity* out) override {
    if (request->spiffe_id().empty()) {
      return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "an empty SPIFFE ID\nis none");
    }
    *out = *request;
    out->set_identity_id("id-1");
    *identities.add_identities() = *out;
    return grpc::Status::OK;
  }
  grpc::Status ListIdentities(Context*, const ca::v1::ListIdentitiesRequest*,
                              ca::v1::IdentityList* out) override {
    *out = identities;
    return grpc::Status::OK;
  }
  grpc::Status UpdateIdentity(Context*, const ca::v1::Identity* request,
                              ca::v1::Identity* out) override {
    *out = *request;
    return grpc::Status::OK;
  }
  grpc::Status GetTrust(Context*, const ca::v1::GetTrustStateRequest*,
                        trust::v1::TrustState* out) override {
    *out = trust;
    return grpc::Status::OK;
  }
  grpc::Status PublishPinSet(Context*, const trust::v1::SignedPinSet* request,
                             ca::v1::PinSetPublished* out) override {
    *trust.add_pin_sets() = *request;
    out->set_version(static_cast<uint64_t>(trust.pin_sets_size()));
    out->set_trust_epoch(9);
    return grpc::Status::OK;
  }
  grpc::Status ProvePossession(Context*, const ca::v1::ProvePossessionRequest* request,
                               trust::v1::PossessionProof* out) override {
    const auto proof = pins.request.proofs.find(request->spki_sha256());
    if (proof == pins.request.proofs.end() || !backup_here) {
      return grpc::Status(grpc::StatusCode::NOT_FOUND, "the key is kept elsewhere");
    }
    *out = proof->second;
    return grpc::Status::OK;
  }
  grpc::Status GetCoverage(Context*, const ca::v1::CoverageRequest* request,
                           ca::v1::Coverage* out) override {
    if (request->policy()) {
      out->set_revision(request->revision() == 0 ? 12 : request->revision());
      out->set_complete(out->revision() < 12);
      ca::v1::NodeCoverage* node = out->add_nodes();
      node->set_node_id("spiffe://example.org/linchpin/node/a");
      node->set_connected(true);
      node->set_why_late("holds revision 11");
      node->add_consumers()->set_spiffe_id("spiffe://example.org/web");
      return grpc::Status::OK;
    }
    out->set_epoch(request->epoch() == 0 ? 9 : request->epoch());
    out->set_complete(out->epoch() < 9);
    out->add_nodes()->set_node_id("spiffe://example.org/linchpin/node/a");
    ca::v1::BackupIssuer* backup = out->add_backups();
    backup->set_subject("CN=spare");
    backup->set_canary_good(4);
    backup->set_canary_bad(1);
    return grpc::Status::OK;
  }
  grpc::Status ReadLog(Context*, const ca::v1::ReadLogRequest* request,
                       grpc::ServerWriter<ca::v1::LogEntry>* writer) override {
    for (uint64_t i = request->from_index(); i < 5; ++i) {
      ca::v1::LogEntry entry;
      entry.set_index(i);
      entry.set_spiffe_id(absl::StrCat("spiffe://example.org/s", i));
      writer->Write(entry);
    }
    return grpc::Status::OK;
  }
  grpc::Status ReadChanges(Context*, const ca::v1::ReadChangesRequest* request,
                           grpc::ServerWriter<ca::v1::Change>* writer) override {
    for (uint64_t i = std::max<uint64_t>(request->from_index(), 1); i < 3; ++i) {
      ca::v1::Change change;
      change.set_index(i);
      change.set_changed_at(1'800'000'000 + static_cast<int64_t>(i));
      change.set_who("alice");
      change.set_role("registrar");
      change.set_method("UpdateIdentity");
      ca::v1::ChangedRecord* record = change.add_records();
      record->set_object("identity spiffe://example.org/web");
      record->set_before("{\"ttl_seconds\":3600}");
      record->set_after("{\"ttl_seconds\":600}");
      writer->Write(change);
    }
    return grpc::Status::OK;
  }
  grpc::Status VerifyLog(Context*, const ca::v1::VerifyLogRequest*,
                         ca::v1::LogVerification* out) override {
    out->set_intact(log_problem.empty());
    out->set_problem(log_problem);
    return grpc::Status::OK;
  }

  PinsWorld pins;
  trust::v1::TrustState trust;
  ca::v1::IdentityList identities;
  bool backup_here = true;
  std::string log_problem;
  std::atomic<uint64_t> held{5};  // by node a; grows with each look
};

class StrawAgent final : public agent::v1::MtlsContextService::Service {
 public:
  grpc::Status Watch(grpc::ServerContext* context, const agent::v1::WatchRequest*,
                     grpc::ServerWriter<agent::v1::MtlsContexts>* writer) override {
    if (const size_t call = calls++; call < refusals.size()) {
      return grpc::Status(refusals[call], absl::StrCat("refusal ", call));
    }
    agent::v1::MtlsContexts unidentified;
    unidentified.add_selectors("unix:uid:1000");
    writer->Write(unidentified);
    if (registered) writer->Write(world.contexts);
    while (!context->IsCancelled()) std::this_thread::yield();
    return grpc::Status::OK;
  }

  ContextsWorld world;
  bool registered = true;
  std::vector<grpc::StatusCode> refusals;  // of the first calls
  std::atomic<size_t> calls{0};
};

class Commands : public ::testing::Test {
 protected:
  Commands() : ca_server_(Serve(ca_, "admin.sock")), agent_server_(Serve(agent_, "agent.sock")) {}

  std::unique_ptr<grpc::Server> Serve(grpc::Service& service, const std::string& name) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix://" + directory_.Join(name), grpc::InsecureServerCredentials());
    builder.RegisterService(&service);
    return builder.BuildAndStart();
  }

  int Run(std::vector<std::string> arguments) {
    out_.str("");
    err_.str("");
    Session session{out_, err_, clock_};
    arguments.insert(arguments.begin(), {"--admin-socket", directory_.Join("admin.sock"),
                                         "--socket", "unix://" + directory_.Join("agent.sock")});
    return RunCommand(std::move(arguments), session);
  }
  // Of words without spaces.
  int RunLine(const std::string& line) { return Run(absl::StrSplit(line, ' ')); }
  std::string out() const { return out_.str(); }
  std::string err() const { return err_.str(); }
  std::string Path(const std::string& name) const { return directory_.Join(name); }

  test::TempDir directory_;
  test::FakeClock clock_;
  StrawCa ca_;
  StrawAgent agent_;
  std::unique_ptr<grpc::Server> ca_server_;
  std::unique_ptr<grpc::Server> agent_server_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(Commands, PrintsTheRootsPinAsTheFirstWord) {
  ASSERT_EQ(RunLine("ca pins"), 0) << err();
  EXPECT_THAT(out(), StartsWith(ca_.pins.root.public_key().pin().ToString() + "  root "));
}

TEST_F(Commands, PrintsAJoinTokenAlone) {
  ASSERT_EQ(RunLine("node token --ttl 90s --node web-1"), 0) << err();
  EXPECT_EQ(out(), "token-web-1-90\n");
}

TEST_F(Commands, ATokenThatCouldNotBeWrittenIsAnError) {
  std::ofstream full("/dev/full");
  Session session{full, err_, clock_};
  EXPECT_EQ(RunCommand({"--admin-socket", Path("admin.sock"), "node", "token"}, session), 1);
  EXPECT_THAT(err(), HasSubstr("could not be written"));
}

TEST_F(Commands, AnAgentsAddressThatIsNoSocketMattersToFetchOnly) {
  Session session{out_, err_, clock_};
  const std::vector<std::string> line = {"--admin-socket", Path("admin.sock"), "--socket",
                                         "tcp://127.0.0.1:8000"};
  const auto run = [&](const std::string& command) {
    std::vector<std::string> arguments = line;
    for (const absl::string_view word : absl::StrSplit(command, ' ')) arguments.emplace_back(word);
    return RunCommand(arguments, session);
  };
  EXPECT_EQ(run("node token"), 0) << err();
  EXPECT_EQ(run("fetch"), 2);
}

TEST_F(Commands, TakesANodesNameForItsSpiffeId) {
  ASSERT_EQ(RunLine("node ban web-1"), 0) << err();
  EXPECT_EQ(out(), "spiffe://example.org/linchpin/node/web-1 is banned\n");
}

TEST_F(Commands, RefusesABadCommandLineWithCodeTwoInOneLine) {
  for (const std::string line :
       {"", "nonsense", "node", "node token --ttl soon", "node token --ttl", "-o xml ca pins",
        "identity create --id spiffe://example.org/web", "pins draft", "node ban",
        "identity create --id spiffe://example.org/web --selector unix:uid:1",
        "identity create --id spiffe://example.org/web --selector unix:uid:1 --any-node --node a",
        "pins draft --out f", "log tail --lines -1", "fetch --timeout 0s", "fetch extra"}) {
    EXPECT_EQ(RunLine(line), 2) << line;
    EXPECT_THAT(err(), StartsWith("linchpin: ")) << line;
    EXPECT_THAT(err(), HasSubstr("--help")) << line;
    EXPECT_EQ(Lines(err()), 1) << err();
    EXPECT_EQ(out(), "") << line;
  }
}

TEST_F(Commands, ShowsHelpWithExamplesOfEveryCommand) {
  for (const std::string command : {"",
                                    "ca pins",
                                    "node token",
                                    "node list",
                                    "node ban",
                                    "node forget",
                                    "identity create",
                                    "identity list",
                                    "identity show",
                                    "identity update",
                                    "identity delete",
                                    "policy allow",
                                    "policy list",
                                    "policy delete",
                                    "bundle show",
                                    "coverage",
                                    "revoke",
                                    "revocations",
                                    "pins keygen",
                                    "pins draft",
                                    "pins sign",
                                    "pins publish",
                                    "pins show",
                                    "pins relax",
                                    "pins fresh",
                                    "pins export",
                                    "operator create",
                                    "operator renew",
                                    "operator list",
                                    "operator delete",
                                    "log verify",
                                    "log tail",
                                    "fetch",
                                    "completion bash"}) {
    std::vector<std::string> words = absl::StrSplit(command, ' ', absl::SkipEmpty());
    words.push_back("--help");
    EXPECT_EQ(Run(words), 0) << command;
    EXPECT_THAT(out(), HasSubstr("Examples:\n  ")) << command;
  }
  EXPECT_EQ(RunLine("--version"), 0);
  EXPECT_THAT(out(), StartsWith("linchpin "));
}

TEST_F(Commands, ShowsAnErrorOfTheCaInOneLine) {
  EXPECT_EQ(Run({"identity", "create", "--id", "", "--selector", "unix:uid:1", "--any-node"}), 1);
  EXPECT_THAT(err(), HasSubstr("an empty SPIFFE ID"));
  EXPECT_EQ(Lines(err()), 1) << err();
}

TEST_F(Commands, SaysWhatToDoWhereNoCaAnswers) {
  EXPECT_EQ(RunLine("--admin-socket /nonexistent/admin.sock ca pins"), 2);  // given twice
  ca_server_->Shutdown();
  ca_server_ = nullptr;
  EXPECT_EQ(RunLine("ca pins"), 1);
  EXPECT_THAT(err(), HasSubstr("--admin-socket"));
}

TEST_F(Commands, CreatesShowsAndUpdatesAnIdentity) {
  ASSERT_EQ(RunLine("identity create --id spiffe://example.org/web --selector unix:uid:1 "
                    "--selector unix:path:/web --node a --ttl 1h --dns web.internal -o json"),
            0)
      << err();
  EXPECT_THAT(out(), HasSubstr("\"identityId\": \"id-1\""));
  EXPECT_THAT(out(), HasSubstr("spiffe://example.org/linchpin/node/a"));
  ASSERT_EQ(RunLine("identity show spiffe://example.org/web"), 0) << err();
  EXPECT_THAT(out(), HasSubstr("unix:uid:1 unix:path:/web"));
  ASSERT_EQ(RunLine("identity update id-1 --ttl 30m --any-node"), 0) << err();
  EXPECT_THAT(out(), HasSubstr("ttl        30m"));
  EXPECT_THAT(out(), HasSubstr("nodes      any"));
  EXPECT_THAT(out(), HasSubstr("web.internal"));
  EXPECT_EQ(RunLine("identity show id-2"), 1);
}

TEST_F(Commands, AllowsAPairAndWaitsForTheConnectedNodes) {
  const std::string line =
      "policy allow --from spiffe://example.org/web --to spiffe://example.org/pay --wait";
  ASSERT_EQ(RunLine(line), 0) << err();
  EXPECT_THAT(out(), HasSubstr("web may call spiffe://example.org/pay from revision 7"));
  EXPECT_EQ(ca_.held, 8u);
}

TEST_F(Commands, ExitsWithOneWhileCoverageIsIncomplete) {
  EXPECT_EQ(RunLine("coverage"), 1);
  EXPECT_THAT(out(), HasSubstr("trust epoch 9: incomplete"));
  EXPECT_THAT(out(), HasSubstr("/linchpin/node/a"));
  EXPECT_THAT(out(), HasSubstr("CN=spare: its canary is good on 4 nodes, bad on 1 (linchpin fail"));
  EXPECT_EQ(err(), "");
  EXPECT_EQ(RunLine("coverage --epoch 8 -o json"), 0);
  EXPECT_THAT(out(), HasSubstr("\"complete\": true"));
  EXPECT_THAT(out(), HasSubstr("\"canaryGood\": 4"));
}

TEST_F(Commands, AsksForARevisionOfThePolicy) {
  EXPECT_EQ(RunLine("coverage --policy"), 1);
  EXPECT_THAT(out(), HasSubstr("policy of revision 12: incomplete"));
  EXPECT_THAT(out(), HasSubstr("connected; holds revision 11\n"));
  EXPECT_THAT(out(), HasSubstr("not shown"));
  EXPECT_EQ(RunLine("coverage --policy --revision 7"), 0);
  EXPECT_EQ(RunLine("coverage --policy -o json"), 1);
  EXPECT_THAT(out(), HasSubstr("\"revision\": \"12\""));
  EXPECT_EQ(RunLine("coverage --revision 7"), 2);
  EXPECT_EQ(RunLine("coverage --policy --epoch 7"), 2);
}

TEST_F(Commands, DraftsSignsAndPublishesAPinSet) {
  const std::string draft = Path("pins.json");
  ASSERT_EQ(Run({"pins", "keygen", "--out", Path("a.key")}), 0) << err();
  EXPECT_THAT(out(), StartsWith("sha256:"));
  ASSERT_EQ(Run({"pins", "keygen", "--out", Path("b.key")}), 0) << err();
  EXPECT_EQ(RunLine("pins show"), 1);
  EXPECT_THAT(err(), HasSubstr("set 0"));
  ASSERT_EQ(Run({"pins", "draft", "--signer", Path("a.key.pub"), "--signer", Path("b.key"),
                 "--threshold", "2", "--out", draft}),
            0)
      << err();
  ASSERT_EQ(Run({"pins", "sign", "--key", Path("a.key"), draft}), 0) << err();
  EXPECT_EQ(Run({"pins", "publish", draft}), 1);
  EXPECT_THAT(err(), HasSubstr("1 of the 2 signatures"));
  ASSERT_EQ(Run({"pins", "sign", "--key", Path("b.key"), draft}), 0) << err();
  ASSERT_EQ(Run({"pins", "publish", draft}), 0) << err();
  EXPECT_THAT(out(), HasSubstr("published pin set 1, trust epoch 9"));
  ASSERT_EQ(RunLine("pins show"), 0) << err();
  EXPECT_THAT(out(), HasSubstr("2 signed of 2 signers, 2 needed"));
  ASSERT_EQ(RunLine("pins export --signers"), 0) << err();
  EXPECT_THAT(out(), HasSubstr("\"minimumVersion\": \"1\""));
  EXPECT_THAT(out(), HasSubstr("\"threshold\": 2"));

  // The next set keeps the signers, and the proof of a backup key that was moved away.
  ca_.backup_here = false;
  ASSERT_EQ(Run({"pins", "draft", "--out", draft}), 0) << err();
  EXPECT_THAT(out(), HasSubstr("pin set 2 of example.org"));
  EXPECT_THAT(out(), HasSubstr("0 signed of 2 signers, 2 needed"));
}

TEST_F(Commands, NeedsAProofOfABackupKeyThatIsKeptApart) {
  ca_.backup_here = false;
  ASSERT_EQ(Run({"pins", "keygen", "--out", Path("a.key")}), 0) << err();
  EXPECT_EQ(Run({"pins", "draft", "--signer", Path("a.key"), "--out", Path("d")}), 1);
  EXPECT_THAT(err(), HasSubstr("--backup-key"));
  ASSERT_OK(base::WriteFileDurably(Path("backup.pem"), ca_.pins.backup.ToPem().Reveal()));
  EXPECT_EQ(Run({"pins", "draft", "--signer", Path("a.key"), "--out", Path("d"), "--backup-key",
                 Path("backup.pem")}),
            0)
      << err();
}

TEST_F(Commands, PrintsTheLogsLastEntries) {
  ASSERT_EQ(RunLine("log tail --issued -n 2 -o json"), 0) << err();
  EXPECT_EQ(Lines(out()), 2);
  EXPECT_THAT(out(), HasSubstr("spiffe://example.org/s4"));
  ASSERT_EQ(RunLine("log tail --changes"), 0) << err();
  EXPECT_THAT(out(), StartsWith("TIME"));
  EXPECT_THAT(out(), HasSubstr("alice (registrar)  UpdateIdentity"));
  EXPECT_THAT(out(), HasSubstr("{\"ttl_seconds\":3600} → {\"ttl_seconds\":600}"));
  ASSERT_EQ(RunLine("log tail -n 3"), 0) << err();
  EXPECT_EQ(Lines(out()), 4) << "a header, the last certificate, both changes";
  EXPECT_THAT(out(), HasSubstr("spiffe://example.org/s4"));
  EXPECT_EQ(RunLine("log tail --changes --issued"), 2);
  ASSERT_EQ(RunLine("log verify"), 0) << err();
  ca_.log_problem = "a hole";
  EXPECT_EQ(RunLine("log verify"), 1);
  EXPECT_THAT(err(), HasSubstr("a hole"));
  EXPECT_EQ(RunLine("log verify -o json"), 1);
  EXPECT_THAT(out(), HasSubstr("\"intact\": false"));
}

TEST_F(Commands, FetchesAndWritesWhatTheAgentDelivers) {
  ASSERT_EQ(Run({"fetch", "--write", Path("tls")}), 0) << err();
  EXPECT_THAT(out(), HasSubstr(kWebId));
  EXPECT_THAT(out(), HasSubstr("peers: none (linchpin policy allow"));
  EXPECT_OK(base::ReadFile(Path("tls/key.pem"), 1 << 16));
}

TEST_F(Commands, NeverPrintsAKey) {
  ASSERT_EQ(RunLine("fetch -o json"), 0) << err();
  EXPECT_THAT(out(), HasSubstr("\"privateKey\": \"\""));
}

TEST_F(Commands, ShowsItsSelectorsToAProcessWithoutAnIdentity) {
  agent_.registered = false;
  EXPECT_EQ(RunLine("fetch --timeout 1s"), 1);
  EXPECT_THAT(out(), HasSubstr("unix:uid:1000"));
  EXPECT_THAT(err(), HasSubstr("linchpin identity create"));
}

TEST_F(Commands, GoesOnWatchingUntilTheAgentCanNeverAnswer) {
  agent_.refusals = {grpc::StatusCode::RESOURCE_EXHAUSTED, grpc::StatusCode::RESOURCE_EXHAUSTED,
                     grpc::StatusCode::PERMISSION_DENIED, grpc::StatusCode::INTERNAL,
                     grpc::StatusCode::UNIMPLEMENTED};
  EXPECT_EQ(RunLine("fetch --watch"), 1);
  EXPECT_EQ(agent_.calls, 5u);
  EXPECT_THAT(err(), StartsWith("linchpin: refusal 0; trying again\n"
                                "linchpin: refusal 2; trying again\n"
                                "linchpin: refusal 3; trying again\n"));
  EXPECT_THAT(err(), HasSubstr("does not know this call"));
}

TEST_F(Commands, CompletesItsOwnCommands) {
  for (const std::string shell : {"bash", "zsh"}) {
    ASSERT_EQ(RunLine("completion " + shell), 0) << err();
    EXPECT_THAT(out(), HasSubstr("'pins draft') choices='--"));
    EXPECT_THAT(out(), HasSubstr("complete -o default -F _linchpin linchpin"));
  }
}

}  // namespace
}  // namespace linchpin::cli
