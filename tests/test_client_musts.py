"""What a client of CONNECT must get right, each with the tests that hold it to that."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

MUSTS = {
    "1 target: authority-form, port, brackets, no zone, A-labels; unresolved unless wanted": {
        "wire/test_request.py": "authority_forms_are_accepted "
        "other_targets_are_refused_before_a_byte_is_made",
        "parts/test_route.py": "endpoints_that_are_read endpoints_that_are_refused",
        "parts/test_walk_musts.py": "the_name_is_looked_up_here_where_that_is_wanted",
    },
    "2 Host first and equal to the target; one form without": {
        "wire/test_request.py": "the_request_is_one_whole_head",
        "parts/test_walk_musts.py": "the_old_form",
    },
    "3 one write; no body, no Content-Length, no headers of the origin": {
        "wire/test_request.py": "nothing_is_sent_that_was_not_asked_for "
        "headers_that_are_not_the_callers_are_refused",
        "parts/test_walk_musts.py": "each_request_is_one_write",
    },
    "4 nothing can be injected": {
        "wire/test_request.py": "no_header_can_end_its_line header_names_are_tokens",
        "wire/test_scheme.py": "basic_refuses_what_it_cannot_carry",
        "wire/test_digest.py": "what_cannot_be_sent_is_refused_at_once all_of_an_answer",
        "wire/test_connect_login.py": "credentials_that_cannot_be_sent_are_not_quoted",
    },
    "5 1xx are skipped, counted, and 101 is no success": {
        "wire/test_connect.py": "a_reply_comes_to_what_the_corpus_says "
        "the_most_headers_and_interim_replies_are_accepted",
        "wire/test_connect_login.py": "interim_replies_count_over_the_whole_handshake",
    },
    "6 any 2xx is success": {"parts/test_walk.py": "every_reply"},
    "7 Content-Length and Transfer-Encoding in a 2xx are ignored, and noted": {
        "wire/test_connect.py": "what_was_borne_with_is_listed a_reply_comes_to_what_the_corpus_says"
    },
    "8 bytes behind the head are the tunnel's, also in a chain and inside TLS": {
        "wire/test_connect.py": "a_reply_means_the_same_at_every_cut "
        "tunnel_bytes_that_come_later_are_kept_too",
        "wire/test_connect_properties.py": "nothing_is_lost_and_nothing_is_kept_beyond_the_limits",
        "parts/test_walk_logins.py": "a_chain_with_two_logins a_tls_proxy_with_a_login",
        "parts/test_walk_hops.py": "socks_byte_by_byte",
    },
    "9 an end before the blank line is a failure": {
        "wire/test_connect.py": "a_head_cut_short_is_no_tunnel a_truncated_head_says_how_much_came"
    },
    "10 what has one meaning is borne with and counted; other protocols are named": {
        "wire/test_connect.py": "what_was_borne_with_is_listed a_head_that_cannot_be_used_says_why",
        "wire/test_resemblance.py": "known_protocols_are_named",
    },
    "11 everything has a limit, and the error names it": {
        "wire/test_connect.py": "the_largest_head_is_accepted_and_the_next_byte_is_not "
        "a_body_is_kept_up_to_its_limit framing_without_content_ends_at_a_limit",
        "parts/test_walk_deadlines.py": "a_proxy_that_never_gets_done a_reply_without_an_end",
    },
    "12 all challenges of all fields, strongest first; a 407 without one is told": {
        "wire/test_scheme.py": "challenges_are_read_as_the_rfc_writes_them",
        "wire/test_connect_login.py": "our_order_of_schemes_decides "
        "a_refusal_that_asks_for_nothing_we_have_is_final",
        "path/test_logins.py": "the_strongest_is_used_unless_told_otherwise",
        "parts/test_walk_musts.py": "a_407_without_a_challenge_is_told",
    },
    "13 the body of a 407 is drained by its framing, or the connection is a new one": {
        "wire/test_connect_login.py": "a_407_is_answered_on_the_same_connection "
        "the_connection_is_used_again_only_where_that_is_safe an_end_while_draining_asks_for_a_new_connection"
    },
    "14 NTLM stays on its connection; Proxy-Connection is sent, and can be left out": {
        "wire/test_logins.py": "ntlm_takes_three_messages_on_one_connection the_old_header_can_be_left_out",
        "wire/test_connect_login.py": "a_bound_login_may_begin_on_a_new_connection "
        "a_bound_login_cannot_go_on_elsewhere",
        "parts/test_security_context.py": "ntlm_logs_in",
    },
    "15 200 to the first message; the last token is checked; the mechanism is told; large tickets": {
        "wire/test_logins.py": "a_proxy_may_let_in_after_the_first_message "
        "the_last_token_of_negotiate_is_checked",
        "path/test_logins.py": "a_ticket_gets_through",
        "parts/test_walk_musts.py": "a_ticket_too_large_for_the_proxy",
    },
    "16 the SPN is the proxy's name, never its address, and can be another": {
        "path/test_logins.py": "what_kerberos_lacks_is_told a_ticket_gets_through",
        "parts/test_security_context.py": "a_proxy_without_a_name",
    },
    "17 Digest: uri as sent, CONNECT, stale, escapes, UTF-8, userhash, nc rises": {
        "wire/test_digest.py": "all_of_an_answer a_stale_nonce_is_no_wrong_password names_beyond_ascii "
        "the_userhash_of_rfc_7616 the_count_rises_when_the_nonce_is_used_again"
    },
    "18 Basic: no colon in the user, charset, empty password, not before it is asked for, a loud note": {
        "wire/test_scheme.py": "basic_sends_utf_8 basic_refuses_what_it_cannot_carry",
        "parts/test_walk_logins.py": "a_login_is_said_when_it_is_asked_for "
        "a_login_is_not_said_to_who_does_not_ask",
        "parts/test_walk_musts.py": "a_password_in_clear_text_is_told other_logins_say_no_password",
    },
    "19 one attempt for a credential; loops end": {
        "wire/test_connect_login.py": "credentials_are_tried_once a_login_that_never_ends_is_ended",
        "path/test_logins.py": "a_wrong_password_is_said_once a_wrong_password_is_said_once_to_the_kdc",
        "parts/test_forward.py": "a_refused_login_is_not_tried_again",
    },
    "20 credentials stay on their hop, out of the tunnel, and out of every output": {
        "parts/test_walk_logins.py": "a_chain_with_two_logins no_error_shows_a_secret "
        "routes_and_hops_show_no_secret",
        "parts/test_security_context.py": "no_output_has_the_password no_error_or_repr_has_the_password",
    },
    "21 redirects are not followed, and a refusal's body is no origin's": {
        "parts/test_walk.py": "every_reply the_body_of_a_refusal_is_kept",
        "parts/test_walk_hops.py": "evidence_is_bounded a_refusal_as_json",
    },
    "22 a 2xx is not yet proof": {
        "parts/test_walk.py": "every_reply",
        "parts/test_forward.py": "a_target_that_ends_before_a_byte_has_passed_is_a_failure",
        "path/test_real_proxies.py": "a_target_that_is_no_framework_server",
    },
    "23 a half-close is passed on, never depended on": {
        "parts/test_pump.py": "a_fin_is_passed_on_as_one",
        "path/test_forwarder.py": "stdio_hears_an_answer_behind_its_last_word",
        "path/test_hops.py": "a_proxy_that_drops_our_last_word_does_not_hold_up_stdio",
    },
    "24 FIN, RST, limits, cancellation and TLS that was cut off are told apart": {
        "parts/test_pump.py": "a_reset_is_passed_on_as_one a_cancelled_tunnel_is_reset",
        "parts/test_walk_musts.py": "an_end_without_close_notify_is_told",
        "parts/test_framework_client.py": "makes_a_new_connection_when_the_idle_one_has_died",
    },
    "25 TLS of each hop is its own, verified, http/1.1 by ALPN; plain text and TLS are told apart": {
        "path/test_hops.py": "each_proxy_has_its_own_tls another_name_for_sni a_client_certificate",
        "path/test_tls_proxies.py": "an_untrusted_https_proxy https_to_a_proxy_without_tls",
        "parts/test_walk_deadlines.py": "what_is_over_tls_is_not_spoken_in_plain",
    },
    "26 what a proxy says of itself, and what reached the far end, is kept": {
        "parts/test_walk_hops.py": "a_refusal_as_json",
        "path/test_real_proxies.py": "a_proxy_that_is_the_framework_server four_pings_get_through",
    },
    "27 no wait without a limit; cancellation closes sockets": {
        "parts/test_walk_deadlines.py": "a_silent_tls_proxy a_connect_that_is_not_answered "
        "a_name_that_is_looked_up_for_ever a_cancelled_walk_closes_its_connection_and_says_where_it_was",
        "parts/test_walk_hops.py": "the_limit_is_named a_login_has_its_own_limit",
    },
    "28 TCP_NODELAY, keep-alive, back-pressure, loopback, a cap": {
        "parts/test_walk_musts.py": "sockets_are_set_up_for_tunnels",
        "parts/test_pump.py": "who_does_not_read_holds_the_other_back",
        "parts/test_forward.py": "beyond_the_limit_connections_are_reset",
        "path/test_forwarder.py": "fifty_clients_at_once pairs_and_a_record",
    },
    "29 a failure in a chain names its hop": {
        "parts/test_walk_logins.py": "the_hop_that_fails_is_named",
        "path/test_hops.py": "a_failure_in_a_chain_names_its_hop",
    },
    "30 a listener whose tunnel fails resets": {
        "parts/test_forward.py": "a_target_that_ends_before_a_byte_has_passed_is_a_failure",
        "path/test_forwarder.py": "a_refused_port a_dead_proxy a_silent_proxy",
    },
}


@pytest.mark.parametrize(("must", "files"), MUSTS.items(), ids=lambda value: str(value).partition(" ")[0])
def test_every_must_has_its_tests(must: str, files: dict[str, str]) -> None:
    """None of the tests that the table names has been renamed or lost."""
    for file, names in files.items():
        there = {
            node.name
            for node in ast.walk(ast.parse((TESTS / file).read_text("utf-8")))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert set() == {f"test_{name}" for name in names.split()} - there, f"{must}: {file}"


def test_the_table_is_whole() -> None:
    """Thirty musts, in order."""
    assert [str(number) for number in range(1, 31)] == [must.partition(" ")[0] for must in MUSTS]
