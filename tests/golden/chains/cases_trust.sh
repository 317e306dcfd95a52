# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
#
# Part of make.sh: pins, peer policy and revocation (steps 3 to 5).

begin rogue-intermediate 'a CA under the true root that no pin names'
send rogue rogue-issuer
verdict refused ISSUER_NOT_PINNED

begin pinned-certificate-merely-sent 'the pinned issuer is sent, but another one signed the leaf'
send rogue rogue-issuer issuer
verdict refused ISSUER_NOT_PINNED

begin rogue-intermediate-held 'candidates are no pins: the CA lists the rogue issuer as its own'
put issuers 'issuer.pem backup.pem rogue-issuer.pem'
send rogue
verdict refused ISSUER_NOT_PINNED

begin namesake-intermediate 'a rogue issuer bears the name of the true one'
leaf under-namesake namesake $PAYMENTS
send under-namesake namesake
verdict refused ISSUER_NOT_PINNED

begin namesake-with-key-id 'a rogue issuer bears the name and the key id of the true one'
leaf under-twin twin-namesake $PAYMENTS
send under-twin twin-namesake
verdict refused ISSUER_NOT_PINNED

begin namesake-beside-true 'a true chain with the namesake in front of the issuer still passes'
send payments twin-namesake issuer
verdict allowed

begin only-root-pinned 'the root is an anchor, and no issuer is pinned'
put pinned_issuers ''
send payments issuer
verdict refused ISSUER_NOT_PINNED

begin only-root-pinned-as-issuer 'the root is pinned as issuer too, but did not sign the leaf'
put pinned_issuers root.pem
send payments issuer
verdict refused ISSUER_NOT_PINNED

begin leaf-under-root 'the root signed the leaf and is only an anchor'
leaf under-root root $PAYMENTS
send under-root
verdict refused ISSUER_NOT_PINNED

begin leaf-under-root-pinned 'the root signed the leaf and is pinned as issuer too'
put pinned_issuers 'root.pem backup.pem'
send under-root
verdict allowed

begin any-under-anchor 'the set asks for the root alone'
put pinned_issuers ''
put any_under_anchor yes
send rogue rogue-issuer
verdict allowed

begin leaf-key-pinned 'the pin is of the leaf: only the key that signed it counts'
put pinned_issuers chain.pem
send payments issuer
verdict refused ISSUER_NOT_PINNED

begin backup-issuer 'the backup has taken over'
leaf under-backup backup $PAYMENTS
send under-backup backup
verdict allowed

begin report-only 'the pins only report'
put mode report_only
send rogue rogue-issuer
verdict allowed 'ISSUER_NOT_PINNED(reported)'

begin report-only-no-path 'pins that only report soften nothing but themselves'
put mode report_only
send stranger stranger-issuer
verdict refused NO_PATH

begin pins-expired-keep 'an expired set that says keep is enforced on'
put expires_at 2030-06-01T00:00:00Z
put on_expiry keep
send rogue rogue-issuer
verdict refused ISSUER_NOT_PINNED

begin pins-expired-keep-good 'an expired set that says keep lets the pinned through'
put expires_at 2030-06-01T00:00:00Z
put on_expiry keep
send payments issuer
verdict allowed

begin pins-expired-relax 'an expired set that says relax only reports'
put expires_at 2030-06-01T00:00:00Z
put on_expiry relax
send rogue rogue-issuer
verdict allowed 'ISSUER_NOT_PINNED(reported)'

begin pins-expired-relax-anchors 'relaxing never touches the anchors'
put expires_at 2030-06-01T00:00:00Z
put on_expiry relax
send stranger stranger-issuer
verdict refused NO_PATH

begin pins-expired-fail-closed 'an expired set that says fail_closed refuses all'
put expires_at 2030-06-01T00:00:00Z
put on_expiry fail_closed
send payments issuer
verdict refused PINS_EXPIRED

begin pins-not-expired-fail-closed 'a second before the expiry all is well'
put expires_at 2030-06-01T12:00:01Z
put on_expiry fail_closed
send payments issuer
verdict allowed

begin answers-for-another 'an allowed service answers where another was dialled'
rules=("$WEB -> $PAYMENTS both" "$WEB -> spiffe://example.org/orders both")
send orders issuer
verdict refused UNEXPECTED_PEER

begin answers-for-another-audited 'auditing does not soften that'
rules=("$WEB -> $PAYMENTS both" "$WEB -> spiffe://example.org/orders both audit")
send orders issuer
verdict refused UNEXPECTED_PEER 'PEER_NOT_ALLOWED(reported)'

begin policy-missing 'no rule names the pair'
rules=()
send payments issuer
verdict refused PEER_NOT_ALLOWED

begin policy-missing-at-caller 'only the half of the callee is there'
rules=("$WEB -> $PAYMENTS inbound")
send payments issuer
verdict refused PEER_NOT_ALLOWED

begin policy-missing-at-callee 'only the half of the caller is there'
rules=("$WEB -> $PAYMENTS outbound")
inbound
send web issuer
verdict refused PEER_NOT_ALLOWED

begin policy-other-direction 'the pair is allowed the other way round'
rules=("$PAYMENTS -> $WEB both")
send payments issuer
verdict refused PEER_NOT_ALLOWED

begin audit 'the pair is only audited'
rules=("$WEB -> $PAYMENTS both audit")
send payments issuer
verdict allowed 'PEER_NOT_ALLOWED(reported)'

begin unpinned-and-not-allowed 'every step reports'
rules=()
send rogue rogue-issuer
verdict refused ISSUER_NOT_PINNED PEER_NOT_ALLOWED

begin revoked-serial 'the serial of the leaf is revoked'
revocations=('serial 5000')
send payments issuer
verdict refused REVOKED

begin revoked-issuer-serial 'serials are those of leaves'
revocations=("serial $(openssl x509 -in "$work/issuer.pem" -noout -serial | cut -d= -f2)")
send payments issuer
verdict allowed

begin revoked-id 'the ID is denied where issued until NotBefore'
revocations=("id $PAYMENTS 2030-06-01T00:00:00Z")
send payments issuer
verdict refused REVOKED

begin revoked-id-before 'the leaf was issued a second after what is denied'
revocations=("id $PAYMENTS 2030-05-31T23:59:59Z")
send payments issuer
verdict allowed

begin revoked-leaf-key 'the key of the leaf is revoked'
revocations=('key chain.pem')
send payments issuer
verdict refused REVOKED

begin revoked-issuer-key 'the key of the issuer is revoked, although it is pinned'
revocations=('key issuer.pem')
send payments issuer
verdict refused REVOKED

begin revoked-in-report-only 'neither report_only nor audit softens a revocation'
put mode report_only
rules=("$WEB -> $PAYMENTS both audit")
revocations=('serial 5000')
send payments issuer
verdict refused 'PEER_NOT_ALLOWED(reported)' REVOKED
