"A full disk and a locked database: answers still come, nothing is left half, and deleting makes room."
import os, shutil, sqlite3, subprocess, sys, time
from types import SimpleNamespace
import pytest, sqlalchemy as sa
from PIL import Image
from sciencetutor.app import core
from sciencetutor.app.core import Page, PageSettings, PageTurn, chat_messages
from sciencetutor.app.store import Store
from sciencetutor.app.views import TEXTS
from sciencetutor.serve.core import Server, open_port
from test_page import Script

T = TEXTS['en']

def fill(store):
    "No page more than the database has now."
    with store.autocommit() as c: pages = c.exec_driver_sql('PRAGMA page_count').scalar()
    @sa.event.listens_for(store.db, 'engine_connect')
    def limit(c): c.connection.driver_connection.execute(f'PRAGMA max_page_count={pages}')
    store.db.dispose()
    return lambda: sa.event.remove(store.db, 'engine_connect', limit)

def ask(page, text, turns=(), user=None, picture=None):
    turn = PageTurn(text, picture=picture)
    page.admit(turn, user or page.store.user(None), None, turns)
    for _ in page.answer(turn, list(turns), 's'): pass
    return turn

def said(turn): return chat_messages([turn], T)[1]['content']

@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.setattr(core, 'RETRY', .05)
    page = Page(Script(), PageSettings(examples=0, store=Store(str(tmp_path/'store'))))
    page.store.user(None)
    yield page
    page.late.clear()
    page.store.close()

def until(condition):
    for _ in range(400):
        if condition(): return True
        time.sleep(.05)
    return False

def test_answers_come_when_the_store_is_full(page):
    make_room = fill(page.store)
    turn = ask(page, 'Why is the sky blue? '*300, picture=Image.new('RGB', (90, 90), 'red'))
    assert turn.text and not turn.note and T['not_kept'] in said(turn)
    me = page.store.user(None)['id']
    assert not page.store.asked(me) and not page.store.history(me) and not page.store.asked_today(me)  # nothing half
    assert not list(page.store.pictures.rglob('*.png'))
    make_room()
    page.store.db.dispose()
    assert until(lambda: page.store.asked(me) and page.store.asked(me)[0]['text'])  # and then it is kept
    assert T['not_kept'] not in said(turn) and len(list(page.store.pictures.rglob('*.png'))) == 1
    assert page.store.asked(me)[0]['text'] == turn.text

def test_what_waits_comes_into_one_chat(page):
    "Three questions while the database is locked, all of one chat, in their order and with their answers."
    page.store.db = page.store.db.execution_options(patience=.05)
    lock = sqlite3.connect(page.store.folder/'tutor.db', isolation_level=None, check_same_thread=False)
    lock.execute('BEGIN IMMEDIATE')
    turns = []
    for q in 'first?', 'second?', 'third?':
        turns.append(ask(page, q, turns))
        assert turns[-1].text and T['not_kept'] in said(turns[-1])
    lock.execute('ROLLBACK')
    me = page.store.user(None)['id']
    assert until(lambda: not page.late)
    chat, = page.store.history(me)
    kept = page.store.messages(me, chat['id'])
    assert [m['question'] for m in kept] == ['first?', 'second?', 'third?'] and all(m['text'] for m in kept)
    assert not any(t.unsaved for t in turns) and page.store.asked_today(me) == 3
    lock.close()

def test_a_first_visit_while_the_store_is_locked(tmp_path):
    "A stranger's visit begins with a write."
    page = Page(Script(), PageSettings(examples=0, shared=True))
    page.store.db = page.store.db.execution_options(patience=.05)
    lock = sqlite3.connect(page.store.folder/'tutor.db', isolation_level=None)
    lock.execute('BEGIN IMMEDIATE')
    request = SimpleNamespace(username=None, session_hash='ab'*32)
    turn = ask(page, 'Why?', user=page.user_of(request))
    assert turn.text and T['not_kept'] in said(turn)
    lock.execute('ROLLBACK')
    page.late.clear()
    assert page.user_of(request)['id']

def test_what_was_deleted_while_it_waited_stays_deleted(page):
    "A chat and a child that are deleted before their last question could be stored don't come back with it."
    page.store.db = page.store.db.execution_options(patience=.05)
    first, me = ask(page, 'first?'), page.store.user(None)
    def ask_locked(text, turns):
        lock = sqlite3.connect(page.store.folder/'tutor.db', isolation_level=None)
        lock.execute('BEGIN IMMEDIATE')
        turn = PageTurn(text)
        page.admit(turn, me, first.chat_id, turns)
        page.save_later(turn)
        lock.execute('ROLLBACK')
        return turn
    page.late.append(first)  # the thread is not started
    ask_locked('second?', [first])
    page.drop_chat(me['id'], first.chat_id)
    assert page.late == [] and not page.store.history(me['id'])
    page.late.append(first)
    ask_locked('third?', [])
    page.drop_child(me)
    assert page.late == [] and not page.store.users()

def test_a_locked_store_is_read_at_once(tmp_path):
    "A new connection doesn't ask for the lock that a writer holds."
    Store(str(tmp_path)).add_user('ada')
    lock = sqlite3.connect(tmp_path/'tutor.db', isolation_level=None)
    lock.execute('BEGIN IMMEDIATE')
    code = """import sys
from sciencetutor.app import store
store.PRAGMAS = ('busy_timeout=0', *store.PRAGMAS[1:])
store.make_db(sys.argv[1]).connect().close()"""
    subprocess.run([sys.executable, '-c', code, f'sqlite:///{tmp_path}/tutor.db'], check=True)
    lock.close()

def test_a_flag_is_kept_though_the_store_was_locked(page):
    page.store.db = page.store.db.execution_options(patience=.05)
    lock = sqlite3.connect(page.store.folder/'tutor.db', isolation_level=None, check_same_thread=False)
    lock.execute('BEGIN IMMEDIATE')
    assert ask(page, 'I want to kill myself').note == 'refuse_self-harm'
    lock.execute('ROLLBACK')
    me = page.store.user(None)['id']
    assert until(lambda: page.store.asked(me, flagged=True))

def test_other_changes_say_that_they_were_not_saved(page, monkeypatch):
    warned = []
    monkeypatch.setattr(core.gr, 'Warning', warned.append)
    turn = ask(page, 'Why?')
    page.store.db = page.store.db.execution_options(patience=.05)
    lock = sqlite3.connect(page.store.folder/'tutor.db', isolation_level=None)
    lock.execute('BEGIN IMMEDIATE')
    me = page.store.user(None)['id']
    assert not page.keep(page.store.rename, me, turn.chat_id, 'x') and warned == [T['not_saved']]
    lock.execute('ROLLBACK')
    assert page.keep(page.store.rename, me, turn.chat_id, 'x') and len(warned) == 1

def test_a_locked_store_on_a_running_server(tmp_path, monkeypatch):
    "As long as somebody holds the database, a visitor reads why nothing is kept; then the question is."
    from test_serve_access import ask as send, visit
    monkeypatch.setattr(core, 'RETRY', .05)
    monkeypatch.setattr(core, 'PATIENCE', .2)
    store = Store(str(tmp_path/'store'))
    me = store.user(None)['id']
    with Server(Script(), open_port('127.0.0.1', 0), page_options=dict(store=store), rate=0) as s:
        v = visit(s.url)
        lock = sqlite3.connect(tmp_path/'store'/'tutor.db', isolation_level=None)
        lock.execute('BEGIN IMMEDIATE')
        status, said = send(v, text='Why is the sky blue?')
        assert status == 200 and 'Finis' in said and T['not_kept'] in said and not store.asked(me)
        lock.execute('ROLLBACK')
        assert until(lambda: store.asked(me) and 'Finis' in store.asked(me)[0]['text'])
        assert T['not_kept'] not in send(v, text='And now?')[1]

def test_deleting_works_at_the_last_page(tmp_path):
    store = Store(str(tmp_path))
    ada = store.add_user('ada')
    chats = [store.add_message(ada, None, 'x'*20_000)[0] for _ in range(5)]
    fill(store)
    with pytest.raises(sa.exc.OperationalError, match='full'): store.add_message(ada, None, 'y'*20_000)
    store.drop_conversation(ada, chats[0])
    store.add_message(ada, None, 'z'*10_000)

def test_a_failed_picture_leaves_nothing(tmp_path, monkeypatch):
    store = Store(str(tmp_path))
    def full(*a): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError): store.add_message(store.add_user('ada'), None, 'Why?', Image.new('RGB', (9, 9), 'red'))
    assert not [p for p in store.pictures.rglob('*') if p.is_file() and p.name != '.sciencetutor']
    assert not store.rows(store['messages'].select()) and not store.rows(store['days'].select())

LIMITED = """
import resource, signal, sys
from sciencetutor.app.store import Store, is_full
import sqlalchemy as sa
store = Store(sys.argv[1])
ada = store.add_user('ada')
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = (store.folder/'tutor.db').stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size+100_000, resource.RLIM_INFINITY))
chats = []
try:
    while True: chats.append(store.add_message(ada, None, 'x'*20_000)[0])
except sa.exc.OperationalError as e: assert is_full(e), e
assert chats and len(store.asked(ada)) == len(chats)
store.drop_conversation(ada, chats.pop())
store.drop_user(ada)
assert not store.users()
"""

def test_files_that_may_not_grow(tmp_path):
    done = subprocess.run([sys.executable, '-c', LIMITED, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]

@pytest.fixture
def tiny_disk(tmp_path):
    "A file system of eight megabytes, where one may be mounted."
    (tmp_path/'disk').mkdir()
    mounted = shutil.which('mount') and not subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', str(tmp_path/'disk')], capture_output=True).returncode
    if not mounted: pytest.skip('no file system may be mounted here')
    yield tmp_path/'disk'
    subprocess.run(['umount', '-l', str(tmp_path/'disk')])

def test_a_disk_that_is_full_to_the_last_byte(tiny_disk):
    store = Store(str(tiny_disk/'store'))
    ada, bob = store.add_user('ada', 'a long password'), store.add_user('bob')
    chats = [store.add_message(ada, None, 'x'*50_000)[0] for _ in range(10)]
    with open(tiny_disk/'filler', 'wb', buffering=0) as f:
        with pytest.raises(OSError):
            while True: f.write(bytes(4096))
    with pytest.raises(sa.exc.OperationalError): store.add_message(bob, None, 'y'*500_000)
    assert store.login('ada', 'a long password') and store.session_user(store.begin_session('ada')) == 'ada'
    for chat in chats[:5]: store.drop_conversation(ada, chat)
    store.drop_user(ada)
    assert [u['name'] for u in store.users()] == ['bob'] and shutil.disk_usage(tiny_disk).free > 100_000
    store.add_message(bob, None, 'y'*50_000)
