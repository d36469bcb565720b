"What the tutor remembers: nothing acknowledged is lost, nothing of one child is another's, what is deleted is gone."
import os, re, shutil, signal, subprocess, sys, tempfile, time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import pytest, sqlalchemy as sa
from PIL import Image
from fastcore.script import CliError
from sciencetutor.app.store import DailyLimit, Store, active_seconds, make_db, migrate

WRITER = """
import sys
from sciencetutor.app.store import Store
store, i = Store(sys.argv[1], sys.argv[2]), int(sys.argv[3])
me, chat, n = store.add_user(f'child{i}'), None, 0
while True:
    chat, m = store.add_message(me, chat, f'child {i} asks {n}', choices=['a', 'b'])
    print(f'child {i} asks {n}', flush=True)
    n += 1
"""

def kill_writers(where, pictures, seconds, tmp_path):
    "Eight processes write until they are killed; what they had acknowledged."
    Store(where, pictures).close()
    outs = [open(tmp_path/f'{i}.txt', 'w') for i in range(8)]
    command = [sys.executable, '-c', WRITER, where, pictures]
    ps = [subprocess.Popen([*command, str(i)], stdout=o, stderr=subprocess.PIPE) for i, o in enumerate(outs)]
    end = time.time()+120
    while time.time() < end and not all((tmp_path/f'{i}.txt').stat().st_size for i in range(8)): time.sleep(.05)
    time.sleep(seconds)
    for p in ps: p.send_signal(signal.SIGKILL)
    errors = [p.communicate()[1].decode() for p in ps]
    for o in outs: o.close()
    assert not any(errors), errors
    written = [line for i in range(8) for line in (tmp_path/f'{i}.txt').read_text().splitlines(keepends=True)]
    return [line for line in written if line.endswith('\n')]

def check_writers(where, pictures, acknowledged):
    store = Store(where, pictures)
    found = {r['question'] for r in store.rows(sa.select(store['messages'].c.question))}
    names = [l.strip() for l in acknowledged]
    assert len({n.split(' asks')[0] for n in names}) == 8 and set(names) <= found
    assert len(store.rows(sa.select(store['messages'].c.id))) == len(found)
    store.close()
    return len(names)

def test_kill_while_eight_write(tmp_path):
    where = str(tmp_path/'store')
    acknowledged = kill_writers(where, where+'/pictures', 1., tmp_path)
    print(check_writers(where, where+'/pictures', acknowledged), 'acknowledged')
    db = make_db(f'sqlite:///{where}/tutor.db')
    with db.connect() as c:
        assert c.exec_driver_sql('PRAGMA integrity_check').scalar() == 'ok'
        assert c.exec_driver_sql('PRAGMA journal_mode').scalar() == 'wal'
    db.dispose()

def postgres_bin():
    installed = sorted(map(str, Path('/usr/lib/postgresql').glob('*/bin/initdb')))
    found = shutil.which('initdb') or next(iter(installed), None)
    return found and Path(os.path.realpath(found)).parent

@pytest.fixture
def postgres():
    "A PostgreSQL server of our own, on a socket in a temporary folder; its URL and its folder."
    if not (bin := postgres_bin()): pytest.skip('no PostgreSQL on this machine: install the package postgresql')
    if os.geteuid() == 0: user = ['runuser', '-u', 'postgres', '--']
    else: user = []
    folder = tempfile.mkdtemp(prefix='pg-')
    if user: shutil.chown(folder, 'postgres')
    quiet = dict(stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    run = lambda *a: subprocess.run([*user, *a], check=True, cwd='/', **quiet)
    run(bin/'initdb', '-D', folder+'/d', '-A', 'trust', '-U', 'tutor')
    options = f"-k {folder} -c listen_addresses=''"
    start = lambda: run(bin/'pg_ctl', '-D', folder+'/d', '-w', '-l', folder+'/log', '-o', options, 'start')
    start()
    try: yield f'postgresql://tutor@/postgres?host={folder}', folder, run, bin, start
    finally:
        run(bin/'pg_ctl', '-D', folder+'/d', '-m', 'immediate', 'stop')
        shutil.rmtree(folder, ignore_errors=True)

@pytest.mark.soak
def test_kill_while_eight_write_postgres(postgres, tmp_path):
    url, folder, run, bin, start = postgres
    acknowledged = kill_writers(url, str(tmp_path/'pictures'), 5., tmp_path)
    run(bin/'pg_ctl', '-D', folder+'/d', '-m', 'immediate', 'stop')  # as if the power failed
    start()
    assert check_writers(url, str(tmp_path/'pictures'), acknowledged) > 100

@pytest.mark.soak
def test_the_same_on_postgres(postgres, tmp_path):
    store = Store(postgres[0], str(tmp_path/'pictures'))
    whole_story(store)
    store.close()
    migrate_all(postgres[0].replace('postgresql:', 'postgresql+psycopg:'), fresh=False)

@pytest.mark.soak
def test_kill_again_and_again(tmp_path):
    where, total = str(tmp_path/'store'), 0
    for i in range(10):
        (tmp_path/str(i)).mkdir()
        acknowledged = kill_writers(where+str(i), where+'/pictures', 3., tmp_path/str(i))
        total += check_writers(where+str(i), where+'/pictures', acknowledged)
    print(total, 'acknowledged, none lost')

# Migrations

TABLES = ('feedback', 'messages', 'conversations', 'quiz_results', 'mastery', 'days', 'sessions', 'stores', 'users',
          'accepted', 'settings', 'alembic_version')

def old_message(i):
    "A message with the columns of the first schema."
    words = dict(question=f'Why? {i} 🌋', context='x'*i, choices=['a', 'b'], text='Because.', note='')
    picture = 'ff'*32 if i % 2 else None
    return dict(id=i, conversation_id=f'c{i % 6}', created=i, picture=picture, probs=[.25, .75], **words)

def migrate_all(url, fresh=True):
    db = make_db(url)
    if not fresh:
        with db.begin() as c:
            for t in TABLES: c.exec_driver_sql(f'DROP TABLE IF EXISTS {t}')
    migrate(db, '0001')
    old = sa.MetaData()
    old.reflect(db)
    t = old.tables
    chat = lambda i: dict(id=f'c{i}', user_id=1+i % 3, title=f'Täler & "Berge" {i}', created=i, updated=i+1)
    rows = dict(users=[dict(id=i, name=f'child{i}', created=1.5*i) for i in range(1, 4)],
        conversations=[chat(i) for i in range(6)], messages=[old_message(i) for i in range(1, 60)],
        feedback=[dict(message_id=i, thumb=(-1)**i, correction='ü', created=i) for i in range(1, 60, 7)])
    with db.begin() as c:
        for name, values in rows.items(): c.execute(t[name].insert(), values)
    migrate(db)
    new = sa.MetaData()
    new.reflect(db)
    with db.connect() as c:
        for name, values in rows.items():
            table = new.tables[name]
            query = table.select().order_by(list(table.primary_key)[0])
            found = [dict(r) for r in c.execute(query).mappings()]
            assert len(found) == len(values), name
            for f, w in zip(found, values): assert f | w == f, name
    cols = {n: set(new.tables[n].c.keys()) for n in new.tables}
    db.dispose()
    return cols

def test_from_the_first_schema_to_the_last(tmp_path):
    cols = migrate_all(f'sqlite:///{tmp_path}/x.db')
    assert {'mode', 'flag', 'seconds', 'sources'} <= cols['messages']
    assert {'role', 'hash', 'grade'} <= cols['users'] and {'mastery', 'quiz_results', 'days'} <= set(cols)
    assert 'deleted' in cols['conversations']

def test_migrating_twice_changes_nothing(tmp_path):
    store = Store(str(tmp_path))
    store.add_user('ada')
    store.close()
    assert [u['name'] for u in Store(str(tmp_path)).users()] == ['ada']

# The story of a class

def test_daily_limit_of_who_asks_at_once(tmp_path):
    "It is checked and counted in one transaction."
    store = Store(str(tmp_path/'store'))
    ada = store.add_user('ada')
    def ask(_):
        try: return store.add_message(ada, None, 'Why?', limit=3) and 'asked'
        except DailyLimit: return 'refused'
    with ThreadPoolExecutor(8) as pool: said = Counter(pool.map(ask, range(16)))
    assert said == dict(asked=3, refused=13) and store.asked_today(ada) == len(store.asked(ada)) == 3
    assert store.add_message(ada, None, 'Help!')[1]  # without a limit, as what is flagged

def whole_story(store):
    ada, bob = store.add_user('ada', 'password of ada', grade=3), store.add_user('bob', 'password of bob')
    red = Image.new('RGB', (9, 9), 'red')
    chat, m = store.add_message(ada, None, 'Why is it red?', red, choices=['a', 'b'], flag='violence')
    store.set_answer(m, text='Light.', probs=[.1, .9], seconds=3., sources=[dict(kind='card', title='Light')])
    other, n = store.add_message(bob, None, 'And mine?', red)
    assert other != chat and len(list(store.pictures.glob('*/*.png'))) == 1
    assert store.messages(bob, chat) == [] and store.messages(ada, chat)[0]['probs'] == [.1, .9]
    assert store.history(bob, 'light') == [] and len(store.history(ada, 'LIGHT')) == 1
    store.rename(bob, chat, 'stolen')
    store.drop_conversation(bob, chat)
    store.add_feedback(bob, m, 1)
    assert store.history(ada)[0]['title'] == 'Why is it red?' and not store.rows(store['feedback'].select())
    assert len(store.asked(ada, flagged=True)) == 1 and not store.asked(bob, flagged=True)
    assert store.asked_today(ada) == 1
    for i in range(3): store.add_result(ada, 'Magnets', 'q', 'c', i > 0, .3*i, 2.)
    assert store.mastery(ada)['Magnets']['asked'] == 3 and store.summary(ada)['correct'] == 2
    store.add_feedback(ada, m, 1)
    assert store.feedback_records() == []  # it has a flag
    store.add_feedback(bob, n, -1, 'Because it is paint.')
    r, = store.feedback_records()
    assert r['conversations'][0]['value'].startswith('<image>\n')
    assert (store.picture_path(r['image'][:-4])).exists()
    assert r['conversations'][1]['value'] == 'Because it is paint.'
    store.drop_user(ada)
    assert [u['name'] for u in store.users()] == ['bob'] and len(list(store.pictures.glob('*/*.png'))) == 1
    for t in ('messages', 'conversations'): assert len(store.rows(store[t].select())) == 1
    for t in ('quiz_results', 'mastery'): assert not store.rows(store[t].select())
    store.drop_user(bob)
    assert not list(store.pictures.glob('*/*.png')) and not store.rows(store['messages'].select())

def test_a_class(tmp_path): whole_story(Store(str(tmp_path)))

def test_deleted_words_are_not_on_the_disk(tmp_path):
    store = Store(str(tmp_path))
    child = store.add_user('ada')
    store.add_message(child, None, 'a very secret xylophone')
    store.drop_user(child)
    store.close()
    assert not any(b'xylophone' in p.read_bytes() for p in tmp_path.rglob('*') if p.is_file())

def test_retention(tmp_path, monkeypatch):
    store = Store(str(tmp_path))
    child, now = store.add_user('ada'), time.time()
    monkeypatch.setattr(time, 'time', lambda: now-40*86400)
    old, _ = store.add_message(child, None, 'long ago')
    store.add_result(child, 'Magnets', 'q', 'c', True, .5)
    monkeypatch.undo()
    store.add_message(child, None, 'today')
    store.forget(30)
    assert [c['title'] for c in store.history(child)] == ['today'] and not store.results(child)
    assert not store.mastery(child)

BAD_USERS = [('', 'long enough', 'child', 3), ('x', 'short', 'child', 3), ('x', 'long enough', 'king', 3),
             ('x', 'long enough', 'child', 13)]

@pytest.mark.parametrize('name,password,role,grade', BAD_USERS)
def test_bad_users(tmp_path, name, password, role, grade):
    with pytest.raises(CliError): Store(str(tmp_path)).add_user(name, password, role, grade)

def test_login(tmp_path):
    store = Store(str(tmp_path))
    store.add_user('ada', 'correct horse')
    store.add_user('nologin')
    assert store.login('ada', 'correct horse') and not store.login('ada', 'Correct horse')
    for name in ('nologin', 'nobody', '', "' OR 1=1 --", 'local'):
        assert not any(store.login(name, p) for p in ('', 'x', 'correct horse'))
    store.add_user('ada', grade=5)  # keeps the password
    assert store.login('ada', 'correct horse') and b'correct horse' not in (tmp_path/'tutor.db').read_bytes()

def test_active_time(): assert active_seconds([0, 60, 100, 1000, 1010]) == 110 and active_seconds([]) == 0

def test_hostile_titles(tmp_path):
    store = Store(str(tmp_path))
    child = store.add_user('ada')
    chat, _ = store.add_message(child, None, "x'; DROP TABLE users; --\n\nand more "*10)
    assert len(store.history(child)[0]['title']) <= 60 and '\n' not in store.history(child)[0]['title']
    assert store.history(child, "DROP '%_") == [] and store.users()
    store.rename(child, chat, '   ')
    assert store.history(child)[0]['title'] == '…'

def test_a_read_only_folder_is_told_in_one_line(tmp_path):
    (tmp_path/'file').write_text('x')
    with pytest.raises(CliError, match='--store'): Store(str(tmp_path/'file'/'store'))

def test_a_child_deletes_but_not_the_flags(tmp_path):
    store = Store(str(tmp_path))
    ada, red = store.add_user('ada'), Image.new('RGB', (9, 9), 'red')
    chat, _ = store.add_message(ada, None, 'Why is the sky blue?', red)
    store.add_message(ada, chat, 'I want to hurt someone', Image.new('RGB', (9, 9), 'blue'), flag='violence')
    store.drop_conversation(ada, chat)
    kept, = store.asked(ada)
    assert kept['question'] == 'I want to hurt someone' and kept['deleted']
    assert len(list(store.pictures.glob('*/*.png'))) == 1
    assert not store.history(ada) and not store.messages(ada, chat) and store.asked_today(ada) == 2
    assert store.summary(ada)['flags'] == 1
    other, _ = store.add_message(ada, chat, 'And now?')  # what is deleted is not gone on with
    assert other != chat and [c['title'] for c in store.history(ada)] == ['And now?']
    assert store.asked(ada)[0]['deleted'] is None
    store.drop_conversation(ada, other)
    assert len(store.rows(store['conversations'].select())) == 1 and store.asked_today(ada) == 3
    store.drop_user(ada)
    assert not list(store.pictures.glob('*/*'))
    for t in ('messages', 'conversations', 'days', 'users'): assert not store.rows(store[t].select())

def test_the_count_survives_edits_and_ends_with_the_day(tmp_path, monkeypatch):
    store = Store(str(tmp_path))
    ada = store.add_user('ada')
    chat, m = store.add_message(ada, None, 'Why?')
    store.drop_message(m)
    assert store.asked_today(ada) == 1
    monkeypatch.setattr(time, 'strftime', lambda f, t=None: '2199-01-01')
    assert store.asked_today(ada) == 0

def test_a_picture_is_not_lost_between_two_children(tmp_path):
    "One child deletes a picture again and again while another asks about the same one."
    import threading
    store, other = Store(str(tmp_path)), Store(str(tmp_path))
    ada, bob, red = store.add_user('ada'), store.add_user('bob'), Image.new('RGB', (9, 9), 'red')
    lost, stop = [], threading.Event()
    def drop():
        while not stop.is_set(): other.drop_conversation(ada, other.add_message(ada, None, 'Mine', red)[0])
    t = threading.Thread(target=drop)
    t.start()
    for _ in range(10):
        chat, _ = store.add_message(bob, None, 'And mine?', red)
        lost.append(not store.picture_path(store.messages(bob, chat)[0]['picture']).exists())
        store.drop_conversation(bob, chat)
    stop.set()
    t.join()
    assert not any(lost)
