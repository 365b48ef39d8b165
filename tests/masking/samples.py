"""Secrets of every kind, the places they stand in, and texts that hold none."""

from __future__ import annotations

import string

from hypothesis import strategies as st

__all__ = ["HARMLESS", "KEY", "NAMED", "PASSWORDS", "PLACES", "QUOTED", "TOKENS", "WORDS"]

_ALNUM = string.ascii_letters + string.digits
_URLSAFE = _ALNUM + "_-"
_BASE64 = _ALNUM + "+/"


def _tail(alphabet: str, least: int, most: int | None = None) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=least, max_size=most or least + 40)


TOKENS: dict[str, st.SearchStrategy[str]] = {
    "access key": _tail(string.ascii_uppercase + "234567", 16, 16).map("AKIA{}".format),
    "temporary key": _tail(string.ascii_uppercase + "234567", 16, 16).map("ASIA{}".format),
    "session token": _tail(_BASE64, 100, 900).map("IQoJb3JpZ2luX2Vj{}==".format),
    "older session token": _tail(_BASE64, 100, 900).map("FwoGZXIvYXdz{}".format),
    "JWT": st.tuples(*[_tail(_URLSAFE, 12)] * 3).map("eyJ{0[0]}.eyJ{0[1]}.{0[2]}".format),
    "GitHub": st.tuples(st.sampled_from("pousr"), _tail(_ALNUM, 36, 36)).map(
        "gh{0[0]}_{0[1]}".format
    ),
    "GitHub, fine": _tail(_ALNUM + "_", 60).map("github_pat_{}".format),
    "GitLab": _tail(_URLSAFE, 20).map("glpat-{}".format),
    "Slack": st.tuples(st.sampled_from("abp"), _tail(string.digits, 10), _tail(_ALNUM, 20)).map(
        "xox{0[0]}-{0[1]}-{0[2]}".format
    ),
    "Stripe": st.tuples(st.sampled_from(["sk", "rk"]), _tail(_ALNUM, 24)).map(
        "{0[0]}_live_{0[1]}".format
    ),
    "Google": _tail(_URLSAFE, 35, 35).map("AIza{}".format),
    "Google OAuth": _tail(_URLSAFE, 40).map("ya29.{}".format),
    "Anthropic": _tail(_URLSAFE, 40).map("sk-ant-{}".format),
    "npm": _tail(_ALNUM, 36, 36).map("npm_{}".format),
    "Vault": _tail(_ALNUM, 24).map("hvs.{}".format),
    "hash of a password": _tail(_ALNUM + "./", 40).map("$6$saltsalt${}".format),
}
"""Secrets that are told by their own shape."""

PLACES = (
    "{}",
    "before {} behind",
    "key: {}",
    '"{}"',
    "'{}'",
    "({})",
    "[{}]",
    "a,{},b",
    "https://host/path?x={}&y=1",
    '{{"a": "{}", "b": 1}}',
    "<a>{}</a>",
    "\\n{}\\n",
    "2026-11-27 ERROR {} at x",
    "\t{}\t",
)

# Letters and what else people put into passwords, but for what ends a word in a shell or a URL.
PASSWORDS = st.text(_ALNUM + "!#%^*_+.~-", min_size=3, max_size=30).map("q9Z{}".format)
QUOTED = st.text(_ALNUM + "!#%^*_+.~-@:/&;,(){}<>|$ =?", min_size=3, max_size=30).map(
    "q9Z{}Z".format
)
"""Passwords that stand in quotes."""

NAMED = (
    "password={}",
    "password={} user=bob",
    "user=bob;password={};host=h",
    "?user=bob&password={}&x=1",
    "passwd={}",
    "passwd: {}",
    "PGPASSWORD={} psql -h db -c 'select 1'",
    "export DB_PASSWORD={}",
    "MYSQL_PWD={}",
    "DB_PASS={}",
    "POSTGRES_PASSWORD={}",
    "spring.datasource.password={}",
    "  password: {}",
    "  - password: {}",
    "db_password = {}",
    "password := {}",
    "Password:{}",
    "your new password: {} is good for a day",
    "userPassword={}",
    "passphrase={}",
    "--password {}",
    "--password={}",
    "mysql --host h --password {} -e x",
    "cli --db-password {} go",
    "cli --token {} go",
    "cli --client-secret {} go",
    "cli --api-key {} go",
    "token={}",
    "access_token={}&x=1",
    "auth_token: {}",
    "X-Auth-Token: {}",
    "secret={}",
    "client_secret={}",
    "CLIENT_SECRET: {}",
    "api_key={}",
    "apikey: {}",
    "API-KEY: {}",
    "x-api-key: {}",
    "aws_secret_access_key = {}",
    "aws_secret_access_key={}",
    "AWS_SECRET_ACCESS_KEY={}",
    "AWS_SESSION_TOKEN={}",
    "aws_session_token = {}",
    "SecretAccessKey: {}",
    "SessionToken: {}",
    "x-amz-security-token:{}",
    "https://h/?X-Amz-Signature={}&a=b",
    "AccountKey={};EndpointSuffix=x",
    "SECRET_KEY_BASE={}",
    "<password>{}</password>",
    "<SecretAccessKey>{}</SecretAccessKey>",
    "{{password: {}, user: bob}}",
    "connect(host=h, password={}, port=1)",
    "postgres://bob:{}@db:5432/x",
    "redis://:{}@cache",
    "https://bob:{}@host/path?x=1",
    "amqps://bob:{}@host",
    "Authorization: Bearer {}",
    "authorization: Basic {}",
    "Proxy-Authorization: Digest {}",
    "curl -H 'Authorization: Bearer {}' https://h/x",
    '"authorization": "Bearer {}",',
    "curl -u bob:{} https://h/x",
    "curl --user bob:{} https://h/x",
    "machine h login bob password {}",
)
"""What stands by a password, in places where it has no quotes."""

IN_QUOTES = (
    'password="{}"',
    "password='{}'",
    '"password": "{}"',
    "'password': '{}'",
    '{{"user": "bob", "password": "{}", "x": 1}}',
    '{{\\"password\\": \\"{}\\", \\"x\\": 1}}',
    "{{'SecretAccessKey': '{}', 'x': 1}}",
    '{{"SessionToken":"{}"}}',
    'export TOKEN="{}"; go',
    '  password: "{}" # of the database',
    "d['password'] = '{}'",
    "token = b'{}'",
    '--password "{}" --user bob',
    '["psql", "--password", "{}", "-h"]',
    '{{"name": "DB_PASSWORD", "value": "{}"}}',
    'api_key => "{}",',
)
"""What stands by a password in quotes."""

KEY = """-----BEGIN RSA PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,0123

MIIEowIBAAKCAQEAq9Zabcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLM
q9Zabcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLM+/MIIEowIBAAKCA0
q9ZQ==
-----END RSA PRIVATE KEY-----
"""

HARMLESS = (
    "password:",
    "password: ",
    "Password: \r",
    "Enter password for bob:",
    "[sudo] password for bob: ",
    "token_count=5",
    "max_tokens: 4096",
    "root:x:0:0:root:/root:/bin/bash",
    "passwd:x:1000:1000::/home/passwd:/bin/sh",
    "secret:x:5:bob",
    "passwd:         files systemd",
    "passwd: password updated successfully",
    "the password is what you type, the secret is what you keep",
    "  --password   the password to use",
    "  --password PASSWORD  to log in with",
    "  -p, --password string   Password",
    "docker login --password-stdin",
    "--password",
    "cli --password --user bob",
    "PWD=/srv/app",
    "OLDPWD=/srv",
    "PASS: test_login",
    "tests: pass=12 fail=0",
    "PasswordAuthentication no",
    "password: true",
    "using password: YES",
    'password: ""',
    "password=${DB_PASSWORD}",
    'PGPASSWORD="$DB_PASSWORD" psql',
    "password=$(cat /run/secrets/db)",
    "password: {{ vault_password }}",
    "password=<password>",
    "password=********",
    "password_file=/run/secrets/db",
    "SecretArn: arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf",
    '"NextToken": "eyJtYXJrZXIi"',
    "SyntaxError: Unexpected token: punc",
    "std::secret::Token::new()",
    "pulling secret:latest",
    "private_key: /etc/tls/key.pem",
    'password = os.environ["DB_PASSWORD"]',
    "http://host:8080/path@2",
    "docker://nginx:1.25@sha256:0123456789abcdef",
    "git@github.com:owner/repo.git",
    "postgres://db:5432/x",
    "authorization: required for every call",
    "bearer of good news",
    "task-0123456789abcdef0123456789abcdef",
    "-----BEGIN CERTIFICATE-----",
    "grep -r -e '-----BEGIN RSA PRIVATE KEY-----' /etc",
    "eyJ is how a JWT begins",
    "AKIA",
    "KEYAKIAIOSFODNN7EXAMPLEX",
    "key=value",
    "primary key: id",
    "The security token included in the request is invalid.",
    "curl -u bob https://h",
    "docker run -u 1000:1000 image",
    '<a accesskey="h" href="index.html">Home</a>',
    "C<passwd>. You may call it",
    "elif token == 'list' or token =~ 'x':",
    "status installed passwd:amd64 1:4.13",
    "%sudo ALL=(root) NOPASSWD: /bin/systemctl",
    "def known(access_key: str, token: str = None) -> None:",
    "my $token = $self->next_one($line) unless $token;",
    'headers = {"Authorization": signed.format(service)}',
    '"TokenValue": session["tokenValue"],',
    "cli 'username= password= version='",
    '"PWD": "/home/node",',
    "docker run -v /run/secrets/token:/token image",
    "users need a login and password for that",
    "max_token => 10_000",
    "printf 'Password: '; sleep 1; kill -9 $$",
    'read -s -p "Password: " pw && echo done',
    'read -p "Token:" x; go',
    'echo "try --password "; ls',
)

WORDS = st.lists(
    st.sampled_from(
        "the password is a secret token key of my user login name value bearer basic passwd pwd "
        "authorization private begin end curl export pass api access sign 42 2026-11-27 "
        "/etc/passwd "
        "AWS ECS a.b x,y (z) tokens keys".split()
    )
    | st.text(
        st.characters(categories=["L", "N", "P"], exclude_characters=":=>@$\"'`"), max_size=8
    ),
    max_size=30,
)
"""Words of the language, these of all languages' letters among them."""
