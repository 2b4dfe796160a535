/* t_front_tls.c - TLS towards clients: handshake, versions, ALPN, names,
 * reload, tickets, short records, large replies, deadlines. */
#include "front_rig.h"

#include "../../src/front/tls.c"

#include <fcntl.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <unistd.h>

#define GET(script) "GET /v1/files?" script " HTTP/1.1\r\nHost: a\r\n\r\n"

/* A self-signed certificate with <key>, which it frees, for <name> that ends
 * in <days>, as files <dir>/<file>.pem and .key. */
static void cert_make_with(EVP_PKEY *key, const char *dir, const char *file,
                           const char *name, int days)
{
    X509 *x = X509_new();
    X509_EXTENSION *ext;
    char text[256];
    FILE *f;

    assert_non_null(key);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -86400 * 10);
    X509_gmtime_adj(X509_getm_notAfter(x), 86400L * days);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    snprintf(text, sizeof(text), "DNS:%s", name);
    ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, text);
    assert_non_null(ext);
    X509_add_ext(x, ext, -1);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    snprintf(text, sizeof(text), "%s/%s.pem", dir, file);
    f = fopen(text, "w");
    assert_int_equal(PEM_write_X509(f, x), 1);
    fclose(f);
    snprintf(text, sizeof(text), "%s/%s.key", dir, file);
    f = fopen(text, "w");
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL),
                     1);
    fclose(f);
    X509_EXTENSION_free(ext);
    X509_free(x);
    EVP_PKEY_free(key);
}

static void cert_make(const char *dir, const char *file, const char *name,
                      int days)
{
    cert_make_with(EVP_EC_gen("P-256"), dir, file, name, days);
}

/* What all tests share: a folder with certificates. */
struct folder {
    char dir[64];
    char listen[1024];
};

static int folder_make(void **state)
{
    static struct folder f;

    snprintf(f.dir, sizeof(f.dir), "/tmp/front_tls_XXXXXX");
    assert_non_null(mkdtemp(f.dir));
    cert_make(f.dir, "a", "a.example", 30);
    cert_make(f.dir, "b", "*.b.example", 30);
    cert_make(f.dir, "c", "c.example", 30);
    cert_make(f.dir, "old", "a.example", -1);
    cert_make_with(EVP_RSA_gen(2048), f.dir, "rsa", "a.example", 30);
    snprintf(f.listen, sizeof(f.listen),
             "[{address: \"127.0.0.1:0\", tls: ["
             "{cert: %s/a.pem, key: %s/a.key},"
             "{cert: %s/b.pem, key: %s/b.key},"
             "{cert: %s/c.pem, key: %s/c.key, names: [\"*.named.example\"]}"
             "]}]",
             f.dir, f.dir, f.dir, f.dir, f.dir, f.dir);
    *state = &f;
    return 0;
}

static int folder_remove(void **state)
{
    struct folder *f = *state;

    rig_remove_folder(f->dir);
    return 0;
}

/* Go on with the client's handshake: 1 done, 0 going on, -1 refused. */
static int shake(struct cli *c)
{
    int ret = SSL_connect(c->ssl), e;

    if (ret == 1)
        return 1;
    e = SSL_get_error(c->ssl, ret);
    return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

/* A client of context <ctx> asking for <name>; whether the handshake held. */
static bool tls_open(struct cli *c, struct rig *r, SSL_CTX *ctx,
                     const char *name)
{
    char sni[64];
    int done = 0;

    snprintf(sni, sizeof(sni), "%s", name ? name : "");
    cli_open(c, r, 0);
    c->ssl = SSL_new(ctx);
    SSL_set_fd(c->ssl, c->fd);
    if (name)
        SSL_ctrl(c->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME,
                 TLSEXT_NAMETYPE_host_name, sni);
    for (int i = 0; i < 20000 && done == 0; i++) {
        done = shake(c);
        rig_turn(r);
    }
    return done == 1;
}

/* Whether the server's certificate is for <name>. */
static bool is_cert_of(struct cli *c, const char *name)
{
    X509 *x = SSL_get1_peer_certificate(c->ssl);
    bool is = X509_check_host(x, name, 0, 0, NULL) == 1;

    X509_free(x);
    return is;
}

static void serves_requests(void **state)
{
    struct folder *f = *state;
    struct rig *r = rig_new(NULL, f->listen);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    struct cli c;

    assert_true(tls_open(&c, r, ctx, NULL));
    for (int i = 0; i < 3; i++) {
        cli_send(&c, GET("now"));
        cli_expect(&c, "hello");
        cli_forget(&c);
    }
    assert_int_equal(r->stats.counter[STAT_TLS_HANDSHAKES], 1);
    cli_send(&c, "GET / HTTP/1.0\r\n\r\n");
    cli_expect_end(&c);
    assert_true(c.eof);
    assert_int_equal(SSL_get_shutdown(c.ssl) & SSL_RECEIVED_SHUTDOWN,
                     SSL_RECEIVED_SHUTDOWN);
    cli_close(&c);
    SSL_CTX_free(ctx);
    rig_free(r);
}

static void takes_one_byte_records(void **state)
{
    static const char text[] =
        "POST /v1/chat/completions?echo HTTP/1.1\r\nHost: a\r\n"
        "Content-Length: 3\r\n\r\nabc";
    struct folder *f = *state;
    struct rig *r = rig_new(NULL, f->listen);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    struct cli c;

    assert_true(tls_open(&c, r, ctx, NULL));
    for (size_t i = 0; i + 1 < sizeof(text); i++) {
        cli_send_bytes(&c, text + i, 1);
        rig_turn(r);
    }
    cli_expect(&c, "\r\n\r\nabc");
    cli_forget(&c);
    for (size_t i = 0; i + 1 < sizeof(text); i++)
        cli_send_bytes(&c, text + i, 1);
    cli_expect(&c, "\r\n\r\nabc");
    cli_close(&c);
    SSL_CTX_free(ctx);
    rig_free(r);
}

/* Whether a reply of 1 MiB is there. */
static bool is_whole(const struct cli *c)
{
    size_t body = str_find(buf_str(&c->got), STR("\r\n\r\n")) + 4;

    return c->got.len >= body + 1024 * 1024;
}

static void large_replies_reach_a_slow_reader(void **state)
{
    struct folder *f = *state;
    struct rig *r = rig_new(NULL, f->listen);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    struct cli c;

    assert_true(tls_open(&c, r, ctx, NULL));
    for (int i = 0; i < 4; i++) {
        cli_send(&c, GET("big"));
        rig_settle(r); /* the socket is full by now */
        while (!is_whole(&c)) {
            assert_true(cli_recv(&c));
            rig_turn(r);
        }
        cli_forget(&c);
    }
    assert_int_equal(front_conns(r->front), 1);
    cli_close(&c);
    SSL_CTX_free(ctx);
    rig_free(r);
}

static void large_bodies_arrive(void **state)
{
    struct folder *f = *state;
    struct rig *r = rig_new(NULL, f->listen);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    char *body = malloc(3000000);
    struct cli c;

    memset(body, 'x', 3000000);
    assert_true(tls_open(&c, r, ctx, NULL));
    cli_send(&c, "POST /v1/files?pull HTTP/1.1\r\nHost: a\r\n"
                 "Content-Length: 3000000\r\n\r\n");
    cli_send_bytes(&c, body, 3000000);
    cli_expect(&c, "\r\n\r\ndone");
    assert_int_equal(r->pulled.len, 3000000);
    assert_memory_equal(r->pulled.p, body, 3000000);
    cli_close(&c);
    free(body);
    SSL_CTX_free(ctx);
    rig_free(r);
}

static void name_chooses_the_certificate(void **state)
{
    static const struct {
        const char *asked, *served;
    } rows[] = {
        {NULL, "a.example"},
        {"a.example", "a.example"},
        {"x.b.example", "x.b.example"},
        {"X.B.Example", "x.b.example"},
        {"b.example", "a.example"},
        {"x.y.b.example", "a.example"},
        {"q.named.example", "c.example"},
        {"c.example", "a.example"},
        {"unknown.example", "a.example"},
    };
    struct folder *f = *state;
    struct rig *r = rig_new(NULL, f->listen);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cli c;

        assert_true(tls_open(&c, r, ctx, rows[i].asked));
        assert_true(is_cert_of(&c, rows[i].served));
        cli_close(&c);
    }
    SSL_CTX_free(ctx);
    rig_free(r);
}

/* Two certificates for one name, with keys of two kinds. */
static void key_is_of_a_kind_that_the_client_takes(void **state)
{
    static const struct {
        const char *sigalgs;
        int type;
    } rows[] = {
        {"ECDSA+SHA256", EVP_PKEY_EC},
        {"RSA-PSS+SHA256", EVP_PKEY_RSA},
        {"RSA+SHA256:RSA-PSS+SHA256", EVP_PKEY_RSA},
        {"RSA-PSS+SHA256:ECDSA+SHA256", EVP_PKEY_EC},
    };
    struct folder *f = *state;
    char listen[512];
    struct rig *r;

    snprintf(listen, sizeof(listen),
             "[{address: \"127.0.0.1:0\", tls: ["
             "{cert: %s/c.pem, key: %s/c.key},"
             "{cert: %s/a.pem, key: %s/a.key},"
             "{cert: %s/rsa.pem, key: %s/rsa.key}]}]",
             f->dir, f->dir, f->dir, f->dir, f->dir, f->dir);
    r = rig_new(NULL, listen);
    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
        char sigalgs[128]; /* OpenSSL's macro casts const away */
        X509 *x;
        struct cli c;

        snprintf(sigalgs, sizeof(sigalgs), "%s", rows[i / 2].sigalgs);
        SSL_CTX_set_max_proto_version(ctx,
                                      i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION);
        assert_int_equal(SSL_CTX_set1_sigalgs_list(ctx, sigalgs), 1);
        assert_true(tls_open(&c, r, ctx, "a.example"));
        assert_true(is_cert_of(&c, "a.example"));
        x = SSL_get1_peer_certificate(c.ssl);
        assert_int_equal(EVP_PKEY_get_base_id(X509_get0_pubkey(x)),
                         rows[i / 2].type);
        X509_free(x);
        cli_close(&c);
        SSL_CTX_free(ctx);
    }
    rig_free(r);
}

static void speaks_only_modern_tls_and_http_1(void **state)
{
    static const unsigned char h2[] = "\x02h2", both[] = "\x02h2\x08http/1.1";
    struct folder *f = *state;
    struct rig *r = rig_new(NULL, f->listen);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    const unsigned char *alpn;
    unsigned len;
    struct cli c;

    SSL_CTX_set_alpn_protos(ctx, both, sizeof(both) - 1);
    assert_true(tls_open(&c, r, ctx, NULL));
    SSL_get0_alpn_selected(c.ssl, &alpn, &len);
    assert_int_equal(len, 8);
    assert_memory_equal(alpn, "http/1.1", 8);
    cli_close(&c);
    SSL_CTX_set_alpn_protos(ctx, h2, sizeof(h2) - 1);
    assert_false(tls_open(&c, r, ctx, NULL));
    cli_close(&c);
    SSL_CTX_free(ctx);
    ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
    assert_true(tls_open(&c, r, ctx, NULL));
    assert_int_equal(SSL_renegotiate(c.ssl), 1);
    SSL_do_handshake(c.ssl);
    rig_settle(r);
    cli_close(&c);
    SSL_CTX_set_cipher_list(ctx, "DEFAULT@SECLEVEL=0");
    SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(ctx, TLS1_1_VERSION);
    assert_false(tls_open(&c, r, ctx, NULL));
    cli_close(&c);
    SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(ctx, "ECDHE-ECDSA-AES128-SHA256:AES128-SHA");
    assert_false(tls_open(&c, r, ctx, NULL));
    cli_close(&c);
    assert_int_equal(r->stats.counter[STAT_TLS_FAILED], 3);
    RIG_UNTIL(r, front_conns(r->front) == 0);
    SSL_CTX_free(ctx);
    rig_free(r);
}

/* Where on_session() keeps what the server gave. */
static int on_session(SSL *s, SSL_SESSION *session)
{
    SSL_SESSION **kept = SSL_get_app_data(s);

    SSL_SESSION_free(*kept);
    *kept = session;
    return 1;
}

/* Connect with *<kept>; whether it was resumed. *<kept> is then renewed. */
static bool resumes(struct rig *r, SSL_CTX *ctx, SSL_SESSION **kept)
{
    SSL_SESSION *offered = *kept;
    struct cli c;
    bool resumed;

    if (offered)
        SSL_SESSION_up_ref(offered);
    cli_open(&c, r, 0);
    c.ssl = SSL_new(ctx);
    SSL_set_fd(c.ssl, c.fd);
    SSL_set_app_data(c.ssl, kept);
    if (offered)
        SSL_set_session(c.ssl, offered);
    RIG_UNTIL(r, shake(&c) == 1);
    cli_send(&c, GET("now"));
    cli_expect(&c, "hello");
    resumed = SSL_session_reused(c.ssl) == 1;
    SSL_shutdown(c.ssl); /* else OpenSSL takes the session for broken */
    cli_close(&c);
    SSL_SESSION_free(offered);
    return resumed;
}

static void tickets_resume_until_their_keys_are_gone(void **state)
{
    struct folder *f = *state;
    struct rig *r = rig_new(NULL, f->listen);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_SESSION *kept = NULL;

    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    assert_false(resumes(r, ctx, &kept));
    assert_true(resumes(r, ctx, &kept));
    clock_advance_ms(3600 * 1000 + 1000);
    assert_true(resumes(r, ctx, &kept)); /* by the old key, and renewed */
    clock_advance_ms(3600 * 1000 + 1000);
    assert_true(resumes(r, ctx, &kept));
    clock_advance_ms(3 * 3600 * 1000);
    assert_false(resumes(r, ctx, &kept));
    SSL_SESSION_free(kept);
    SSL_CTX_free(ctx);
    rig_free(r);
}

static void reload_changes_new_connections_only(void **state)
{
    struct folder *f = *state;
    char listen[1024];
    struct rig *r = rig_new(NULL, f->listen);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    struct conf *fresh, *old;
    struct cli a, b;

    assert_true(tls_open(&a, r, ctx, "c.example"));
    assert_true(is_cert_of(&a, "a.example"));
    snprintf(listen, sizeof(listen),
             "[{address: \"127.0.0.1:0\", tls: {cert: %s/c.pem, key: %s/c.key}"
             "}]",
             f->dir, f->dir);
    fresh = rig_conf(r, NULL, listen);
    assert_int_equal(front_net_reload(r->net, fresh), ERR_OK);
    old = r->w.conf;
    r->w.conf = fresh;
    conf_unref(old);
    front_reconf(r->front);
    assert_true(tls_open(&b, r, ctx, NULL));
    assert_true(is_cert_of(&b, "c.example"));
    cli_send(&a, GET("now"));
    cli_expect(&a, "hello");
    cli_send(&b, GET("now"));
    cli_expect(&b, "hello");
    cli_close(&a);
    cli_close(&b);
    SSL_CTX_free(ctx);
    rig_free(r);
}

static void bad_certificates_leave_the_old_ones(void **state)
{
    struct folder *f = *state;
    char listen[1024];
    struct rig *r = rig_new(NULL, f->listen);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    struct conf *fresh;
    struct cli c;

    snprintf(listen, sizeof(listen),
             "[{address: \"127.0.0.1:0\", tls: {cert: %s/c.pem, key: %s/a.key}"
             "}]",
             f->dir, f->dir);
    fresh = rig_conf(r, NULL, listen);
    assert_int_equal(front_net_reload(r->net, fresh), ERR_SYNTAX);
    conf_unref(fresh);
    front_reconf(r->front);
    assert_true(tls_open(&c, r, ctx, NULL));
    assert_true(is_cert_of(&c, "a.example"));
    cli_close(&c);
    SSL_CTX_free(ctx);
    rig_free(r);
}

static void expired_certificate_is_served_with_a_warning(void **state)
{
    struct folder *f = *state;
    char listen[1024];
    struct rig *r;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    struct cli c;

    snprintf(listen, sizeof(listen),
             "[{address: \"127.0.0.1:0\", tls: {cert: %s/old.pem, "
             "key: %s/old.key}}]",
             f->dir, f->dir);
    r = rig_new(NULL, listen);
    assert_true(tls_open(&c, r, ctx, NULL));
    cli_close(&c);
    SSL_CTX_free(ctx);
    rig_free(r);
}

static void handshake_has_a_deadline(void **state)
{
    struct folder *f = *state;
    struct rig *r = rig_new(NULL, f->listen);
    struct cli c;

    cli_open(&c, r, 0);
    cli_send(&c, "\x16\x03\x01");
    rig_settle(r);
    assert_int_equal(front_conns(r->front), 1);
    clock_advance_ms(10100);
    front_check_deadlines(r->front);
    RIG_UNTIL(r, front_conns(r->front) == 0);
    assert_int_equal(r->stats.counter[STAT_TLS_FAILED], 1);
    cli_close(&c);
    cli_open(&c, r, 0);
    cli_send(&c, "GET / HTTP/1.1\r\nHost: plain\r\n\r\n");
    RIG_UNTIL(r, r->stats.counter[STAT_TLS_FAILED] == 2);
    cli_expect_end(&c);
    cli_close(&c);
    rig_free(r);
}

static void leaving_is_seen_with_and_without_notice(void **state)
{
    struct folder *f = *state;
    struct rig *r = rig_new(NULL, f->listen);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    for (int how = 0; how < 4; how++) {
        struct cli c;

        assert_true(tls_open(&c, r, ctx, NULL));
        cli_send(&c, how == 3 ? GET("open") : GET("wait"));
        RIG_UNTIL(r, r->x != NULL);
        if (how == 0)
            SSL_shutdown(c.ssl); /* close_notify, no FIN */
        else if (how == 1)
            shutdown(c.fd, SHUT_WR); /* FIN, no close_notify */
        else
            cli_reset(&c);
        RIG_UNTIL(r, front_conns(r->front) == 0);
        assert_int_equal(r->gone, how + 1);
        if (how < 2)
            cli_close(&c);
    }
    SSL_CTX_free(ctx);
    rig_free(r);
}

static void conf_names_cover_one_label(void **state)
{
    (void)state;
    assert_true(name_matches(STR("a.b"), STR("A.B")));
    assert_true(name_matches(STR("*.b.c"), STR("x.B.c")));
    assert_false(name_matches(STR("*.b.c"), STR("b.c")));
    assert_false(name_matches(STR("*.b.c"), STR(".b.c")));
    assert_false(name_matches(STR("*.b.c"), STR("x.y.b.c")));
    assert_false(name_matches(STR("a.b"), STR("a.b.c")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serves_requests),
        cmocka_unit_test(takes_one_byte_records),
        cmocka_unit_test(large_replies_reach_a_slow_reader),
        cmocka_unit_test(large_bodies_arrive),
        cmocka_unit_test(name_chooses_the_certificate),
        cmocka_unit_test(key_is_of_a_kind_that_the_client_takes),
        cmocka_unit_test(speaks_only_modern_tls_and_http_1),
        cmocka_unit_test(tickets_resume_until_their_keys_are_gone),
        cmocka_unit_test(reload_changes_new_connections_only),
        cmocka_unit_test(bad_certificates_leave_the_old_ones),
        cmocka_unit_test(expired_certificate_is_served_with_a_warning),
        cmocka_unit_test(handshake_has_a_deadline),
        cmocka_unit_test(leaving_is_seen_with_and_without_notice),
        cmocka_unit_test(conf_names_cover_one_label),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
