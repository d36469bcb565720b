"Logins: guesses are slow and few, passwords are hard to guess, sessions end when they should."
import hashlib, re, threading, time
import argon2, pytest, requests, sqlalchemy as sa
from fastcore.script import CliError
from sciencetutor.app import logins
from sciencetutor.app.logins import TRIES, LoginLimiter
from sciencetutor.app.store import Store
from sciencetutor.app.uploads import Refusal
from sciencetutor.serve import Reach, Server, open_port
from test_page import Script

RIGHT, TOO = 'a long password', dict(timeout=60)

def school(folder, **kw):
    "A server on which ada and bob must log in."
    store = Store(str(folder))
    for name in 'ada', 'bob': store.add_user(name, RIGHT)
    return store, Server(Script(), open_port('127.0.0.1', 0), page_options=dict(store=store, auth=True), rate=0, **kw)

@pytest.fixture(scope='module', autouse=True)
def quick_hashes():
    "Hashes of the same kind, but cheap."
    with pytest.MonkeyPatch.context() as m:
        m.setattr(logins, 'HASHER', argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield

@pytest.fixture(scope='module')
def house(tmp_path_factory):
    store, server = school(tmp_path_factory.mktemp('school'), reach=Reach(proxies=('127.0.0.1',)))
    with server as s:
        s.store = store
        yield s

def enter(url, name='ada', password=RIGHT, v=None, **kw):
    v = v or requests.Session()
    v.answer = v.post(f'{url}/login', data=dict(username=name, password=password), allow_redirects=False, **TOO, **kw)
    return v

def is_in(v, url): return v.get(f'{url}/config', **TOO).status_code == 200

# Guesses

def test_three_hundred_tries(tmp_path):
    "The 16th try of an account is refused for three minutes, the right password, too; another account may go on."
    store, server = school(tmp_path)
    with server as s:
        codes = [enter(s.url, password=f'wrong {i}').answer.status_code for i in range(20)]
        assert codes == [400]*TRIES + [429]*5
        v = enter(s.url)
        assert v.answer.status_code == 429 and 175 <= int(v.answer.headers['retry-after']) <= 180
        assert '3 minutes' in v.answer.text and not is_in(v, s.url)

def test_asking_all_at_once_does_not_help(tmp_path):
    store, server = school(tmp_path)
    codes = []
    def guess(i): codes.append(enter(s.url, password=f'wrong {i}').answer.status_code)
    with server as s:
        ts = [threading.Thread(target=guess, args=(i,)) for i in range(40)]
        for t in ts: t.start()
        for t in ts: t.join()
    assert codes.count(400) == TRIES and codes.count(429) == 25

def test_waits_grow_and_are_forgiven():
    limiter, now, waits = LoginLimiter(), 0., []
    for _ in range(7):
        for _ in range(TRIES): limiter.begin('ada', f'10.0.{now % 250:.0f}.1', now)
        with pytest.raises(Refusal) as e: limiter.begin('ada', '10.1.1.1', now)
        waits.append(int(e.value.headers['retry-after']))
        now += waits[-1]+1
    assert waits == [180, 360, 720, 1440, 2880, 3600, 3600]
    now += 86_401
    for _ in range(TRIES): limiter.begin('ada', '10.2.2.2', now)
    with pytest.raises(Refusal) as e: limiter.begin('ada', '10.2.2.2', now)
    assert e.value.headers['retry-after'] == '180'

def test_an_address_is_limited_over_all_names():
    limiter = LoginLimiter()
    for i in range(TRIES): limiter.begin(f'child{i}', '2001:db8::1', 0.)
    with pytest.raises(Refusal): limiter.begin('other', '2001:db8::ffff', 1.)  # of the same network
    limiter.begin('other', '10.0.0.9', 1.)

def test_own_logins_buy_no_guesses():
    "Who has an account can't log in between guesses to be forgiven those at another's."
    limiter = LoginLimiter()
    with pytest.raises(Refusal):
        for i in range(40):
            limiter.begin('ada', '10.0.0.1', float(i))
            limiter.begin('eve', '10.0.0.1', float(i))
            limiter.succeed('eve', '10.0.0.1')
    assert i == TRIES-1  # eve's own try is the 16th

# Passwords

EASY = ['12345678', '20150704', '0815-4711', 'password', 'Password1!', 'iloveyou2', 'P@$$w0rd', 'qwertyuiop',
        'abababab', 'ada-2015', 'seven77', 'x'*201]

@pytest.mark.parametrize('password', EASY)
def test_easy_passwords(tmp_path, password):
    store = Store(str(tmp_path))
    with pytest.raises(CliError, match='password'): store.add_user('Ada', password)
    assert not store.users()

def scrypt_hash(password):
    "As the first version kept it."
    salt = bytes(range(16))
    return salt.hex()+'$'+hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1).hex()

def test_old_hashes_are_read_and_replaced(tmp_path):
    store, u = Store(str(tmp_path)), None
    ada = store.add_user('ada', 'first one of all')
    u = store['users']
    with store.transaction() as c: c.execute(u.update().values(hash=scrypt_hash('12345678')))  # was allowed then
    kept = lambda: store.rows(sa.select(u.c.hash))[0]['hash']
    assert not store.login('ada', '12345679') and not kept().startswith('$argon2')
    assert store.login('ada', '12345678') and kept().startswith('$argon2id$')
    assert store.login('ada', '12345678') and not store.login('ada', '12345679') and store.user('ada')['id'] == ada

def test_what_a_hash_costs():
    "The library's defaults, RFC 9106's for little memory: 64 MiB, three passes."
    kind, version, costs = argon2.PasswordHasher().hash('x').split('$')[1:4]
    assert kind == 'argon2id' and dict(c.split('=') for c in costs.split(',')) == dict(m='65536', t='3', p='4')

# Names

@pytest.mark.parametrize('name,typed', [(' ada ', 'ada'), ('Ada  Lovelace', ' Ada Lovelace'), ('Zoe\u0308', 'Zoë'),
                                        ('ada\t', 'ada')])
def test_blanks_in_names(tmp_path, name, typed):
    store = Store(str(tmp_path))
    one = store.add_user(name, RIGHT)
    assert store.login(typed, RIGHT) and store.login(name, RIGHT) and store.add_user(typed, grade=3) == one

@pytest.mark.parametrize('name', ['a\x1b[2Jb', 'a\x00b', '\u202eada', '   ', 'x'*81])
def test_odd_names(tmp_path, name):
    with pytest.raises(CliError, match='name'): Store(str(tmp_path)).add_user(name, RIGHT)

def test_login_with_a_blank(house):
    house.store.add_user(' Ada King ', RIGHT)
    assert is_in(enter(house.url, 'Ada King'), house.url)

# Sessions

def test_the_form_speaks_the_language_of_the_browser(house):
    for wanted, words in ('fr-CH,de;q=0.5', 'Mot de passe'), ('de, es;q=0.3', 'Contraseña'), ('xx', 'Password'):
        assert words in requests.get(house.url, headers={'accept-language': wanted}, **TOO).text
    v = enter(house.url, password='not it', v=requests.Session(), headers={'accept-language': 'es'})
    assert 'no van juntos' in v.answer.text

def test_cookie_and_store(house):
    v = enter(house.url)
    cookie = v.answer.headers['set-cookie']
    token = v.cookies['sciencetutor-login']
    assert len(token) == 43 and 'HttpOnly' in cookie and 'SameSite=Lax' in cookie and 'Secure' not in cookie
    kept = [r['token'] for r in house.store.rows(house.store['sessions'].select())]
    assert hashlib.sha256(token.encode()).hexdigest() in kept and token not in kept
    assert v.get(f'{house.url}/gradio_api/user', **TOO).json() == 'ada'
    r = v.get(f'{house.url}/gradio_api/token', **TOO)
    assert r.status_code == 404 and token not in r.text
    assert token not in v.get(house.url, **TOO).text + v.get(f'{house.url}/config', **TOO).text

def test_secure_under_https(house):
    v = enter(house.url, headers={'x-forwarded-proto': 'https'})  # a proxy on this computer is trusted
    assert '; Secure' in v.answer.headers['set-cookie']

def test_logout_ends_one_session(house):
    one, two = enter(house.url), enter(house.url)
    token = one.cookies['sciencetutor-login']
    assert one.get(f'{house.url}/logout', **TOO).status_code == 200
    assert 'type="password"' in one.get(house.url, **TOO).text
    assert not is_in(one, house.url) and is_in(two, house.url)
    one.cookies.set('sciencetutor-login', token)
    assert not is_in(one, house.url)  # the cookie of before is worth nothing

def test_another_login_ends_the_one_before(house):
    v = enter(house.url)
    old = v.cookies['sciencetutor-login']
    enter(house.url, 'bob', v=v)
    assert v.get(f'{house.url}/gradio_api/user', **TOO).json() == 'bob' and not house.store.session_user(old)

def test_a_new_password_ends_all(tmp_path):
    store, server = school(tmp_path)
    with server as s:
        vs, bob = [enter(s.url) for _ in range(3)], enter(s.url, 'bob')
        assert all(is_in(v, s.url) for v in vs)
        other = Store(str(tmp_path))  # as `sciencetutor user` does, in another process
        other.add_user('ada', grade=4)
        assert all(is_in(v, s.url) for v in vs)
        other.add_user('ada', 'another long password')
        assert not any(is_in(v, s.url) for v in vs) and is_in(bob, s.url)
        other.drop_user(other.user('bob')['id'])
        assert not is_in(bob, s.url)

def test_a_restart_keeps_sessions_for_a_week(tmp_path, monkeypatch):
    store, server = school(tmp_path)
    with server as s: v = enter(s.url)
    with school(tmp_path/'other')[1] as s: assert not is_in(v, s.url)
    again, now = Store(str(tmp_path)), time.time()
    token = v.cookies['sciencetutor-login']
    assert again.session_user(token) == 'ada'
    monkeypatch.setattr(time, 'time', lambda: now+8*86400)
    assert again.session_user(token) is None

@pytest.mark.parametrize('token', ['', 'x', 'a'*43, '%00', '"; DROP TABLE sessions', 'é'])
def test_made_up_cookies(house, token):
    r = requests.get(f'{house.url}/config', headers={'cookie': f'sciencetutor-login={token}'.encode()}, **TOO)
    assert r.status_code == 401

# The form

@pytest.mark.parametrize('data', [{}, dict(username='ada'), dict(password='x'), dict(username='<script>', password='x'),
                                  dict(username='x'*1000, password='y'*1000), dict(username='a\0', password=b'\xff')])
def test_odd_forms(house, data):
    r = requests.post(f'{house.url}/login', data=data, **TOO)
    assert r.status_code == 400 and 'do not belong together' in r.text and '<script>' not in r.text

def test_a_long_form(house):
    long = dict(username='ada', password='x'*100_000)
    assert requests.post(f'{house.url}/login', data=long, **TOO).status_code == 413

def test_logins_leave_the_server_free(tmp_path, monkeypatch):
    "While hashes are computed, other requests are answered: hashing is in threads of its own."
    from sciencetutor.app import store as module
    store, server = school(tmp_path)
    begun, go_on = threading.Event(), threading.Event()
    def slow(password, known):
        assert threading.current_thread().name.startswith('login')
        begun.set()
        return not go_on.wait(30)
    monkeypatch.setattr(module, 'same_password', slow)
    with server as s:
        ts = [threading.Thread(target=enter, args=(s.url, f'child{i}')) for i in range(10)]
        for t in ts: t.start()
        assert begun.wait(20)
        for _ in range(10): assert requests.get(f'{s.api_url}/healthz', **TOO).ok
        assert requests.get(s.url, **TOO).ok
        go_on.set()
        for t in ts: t.join()

def test_no_words_in_the_log(house, capfd):
    "A malformed event makes Gradio raise what was sent; the log says what kind of error it was, and where."
    v = enter(house.url)
    fn = next(d['id'] for d in v.get(f'{house.url}/config', **TOO).json()['dependencies'] if len(d['inputs']) > 2)
    for data in ['a secret of a child'], [dict(text='a secret of a child', files=5)]*4, dict(a='a secret of a child'):
        v.post(f'{house.url}/gradio_api/run/predict', json=dict(data=data, fn_index=fn, session_hash='abc'), **TOO)
        v.post(f'{house.url}/gradio_api/queue/join', json=dict(data=data, fn_index=fn, session_hash='abc'), **TOO)
    time.sleep(1)
    out, err = capfd.readouterr()
    assert 'secret' not in out+err and re.search(r'\w+(Error|Exception) at ', err)
