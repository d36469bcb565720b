"Deleted is gone: from the database's bytes, from the pictures, after a kill; and nothing of others goes with it."
import io, os, signal, subprocess, sys, time
from pathlib import Path
import pytest
from PIL import Image
from fastcore.script import CliError
from sciencetutor.app import store as module
from sciencetutor.app.core import Page, PageSettings
from sciencetutor.app.store import Store, make_db
from sciencetutor.app.uploads import MARK, PrivateFolder, Uploads, clean_upload
from test_page import Script

RED = Image.new('RGB', (9, 9), 'red')

def written(folder, words):
    "Which files of a folder have these words; another process reads, for closing SQLite's file here drops its locks."
    found = subprocess.run(['grep', '-rlaF', words, str(folder)], capture_output=True, text=True)
    return found.stdout.split()

def pictures(store): return sorted(p.name for p in store.pictures.rglob('*.png'))

# The words

@pytest.mark.parametrize('how', ['message', 'conversation', 'user', 'forget', 'rename'])
def test_words_leave_the_file(tmp_path, how, monkeypatch):
    store, now = Store(str(tmp_path)), time.time()
    ada, words = store.add_user('ada'), 'a very secret xylophone '*300  # some pages long
    monkeypatch.setattr(time, 'time', lambda: now-40*86400)
    chat, m = store.add_message(ada, None, 'xylophone' if how == 'rename' else words, choices=[words])
    store.set_answer(m, text=words+' indeed')
    monkeypatch.undo()
    assert written(tmp_path, 'xylophone')
    if how == 'rename':
        store.drop_message(m)
        store.rename(ada, chat, 'another title')
    else: dict(message=lambda: [store.drop_message(m), store.rename(ada, chat, 'x')], user=lambda: store.drop_user(ada),
               conversation=lambda: store.drop_conversation(ada, chat), forget=lambda: store.forget(30))[how]()
    assert not written(tmp_path, 'xylophone')  # the store is still open

def test_the_file_gives_its_room_back(tmp_path):
    store = Store(str(tmp_path))
    ada = store.add_user('ada')
    for _ in range(20): chat, _ = store.add_message(ada, None, 'x'*100_000)
    before = (tmp_path/'tutor.db').stat().st_size + (tmp_path/'tutor.db-wal').stat().st_size
    store.drop_user(ada)
    assert (tmp_path/'tutor.db').stat().st_size + (tmp_path/'tutor.db-wal').stat().st_size < before/4

# The pictures

KILLED = """
import os, signal, sys
from PIL import Image
from sciencetutor.app.store import Store
store = Store(sys.argv[1])
ada = store.add_user('ada')
chat, m = store.add_message(ada, None, 'a very secret xylophone', Image.new('RGB', (9, 9), 'red'))
def die(*a): os.kill(os.getpid(), signal.SIGKILL)
setattr(Store, sys.argv[2], die)
dict(user=lambda: store.drop_user(ada), chat=lambda: store.drop_conversation(ada, chat),
     again=lambda: store.add_message(ada, chat, 'And this?', Image.new('RGB', (9, 9), 'blue')))[sys.argv[3]]()
"""

@pytest.mark.parametrize('where', ['clean_up', 'drop_pictures', 'keep_reserve'])
@pytest.mark.parametrize('what', ['user', 'chat'])
def test_killed_between_the_steps(tmp_path, where, what):
    done = subprocess.run([sys.executable, '-c', KILLED, str(tmp_path), where, what])
    assert done.returncode == -signal.SIGKILL
    store = Store(str(tmp_path))
    assert not pictures(store) and not written(tmp_path, 'xylophone')

def test_killed_before_the_message_is_there(tmp_path):
    "A picture whose message never came goes, too."
    done = subprocess.run([sys.executable, '-c', KILLED, str(tmp_path), 'open_conversation', 'again'])
    assert done.returncode == -signal.SIGKILL and len(pictures(Store(str(tmp_path)))) <= 1

def test_a_half_written_picture_goes(tmp_path):
    store = Store(str(tmp_path))
    half = store.pictures/'ab'/('ab'*32+'.0123abcd')
    half.parent.mkdir()
    half.write_bytes(b'half')
    store.close()
    Store(str(tmp_path))
    assert not half.exists()

FOREIGN = ['de/holiday.jpg', 'ab/notes.png', 'ab/'+'ab'*32+'.txt', 'cd/'+'ab'*32+'.png', 'holiday.png',
           'ab/'+'AB'*32+'.png']

def test_foreign_files_stay(tmp_path):
    "A folder of pictures that has been there before, with folders of two letters and odd names."
    for name in FOREIGN:
        (tmp_path/'pictures'/name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path/'pictures'/name).write_text('not ours')
    store = Store(str(tmp_path))
    ada = store.add_user('ada')
    chat, m = store.add_message(ada, None, 'Why?', RED)
    store.drop_message(m)
    store.drop_conversation(ada, chat)
    store.forget(-1)
    store.drop_user(ada)
    store.close()
    Store(str(tmp_path))
    assert all((tmp_path/'pictures'/name).read_text() == 'not ours' for name in FOREIGN)

def test_another_stores_pictures_stay(tmp_path):
    "Two stores with one folder of pictures: neither sweeps what the other has."
    one, two = (Store(str(tmp_path/name), str(tmp_path/'pictures')) for name in ('one', 'two'))
    one.add_message(one.add_user('ada'), None, 'Why?', RED)
    two.add_message(two.add_user('bob'), None, 'Why?', Image.new('RGB', (9, 9), 'blue'))
    assert len(pictures(one)) == 2
    for s in one, two: s.close()
    two = Store(str(tmp_path/'two'), str(tmp_path/'pictures'))
    assert len(pictures(two)) == 2

def test_a_picture_of_two_children_stays_for_one(tmp_path):
    store = Store(str(tmp_path))
    ada, bob = store.add_user('ada'), store.add_user('bob')
    for who in ada, bob: store.add_message(who, None, 'Why?', RED)
    store.drop_user(ada)
    assert len(pictures(store)) == 1
    store.drop_user(bob)
    assert not pictures(store)

# What a photo says of itself

def photo(kind, size=(60, 40)):
    "A photo, red above and blue below once it is upright, with a place, a camera and a remark."
    im, exif = Image.new('RGB', size, 'red'), Image.Exif()
    exif[0x0110], exif[0x0112], exif.get_ifd(0x8825)[2] = 'My Phone 9', 6, (52., 31., 12.)
    im.paste('blue', (size[0]//2, 0, *size))
    more = dict(JPEG=dict(comment=b'at home'), PNG={}, WEBP=dict(xmp=b'<x>at home</x>'), TIFF={})[kind]
    im.save(out := io.BytesIO(), kind, exif=exif, **more)
    return out.getvalue()

@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP', 'TIFF'])
def test_places_and_cameras_go_on_arrival(tmp_path, kind, monkeypatch):
    data = photo(kind)
    assert b'My Phone 9' in data
    kept = clean_upload(data)
    with Image.open(io.BytesIO(kept)) as im:
        assert not im.getexif() and not im.info and im.format == 'PNG'
        if kind != 'TIFF': assert im.size == (40, 60)  # upright
    assert not any(s in kept for s in (b'Phone', b'home', b'eXIf', b'GPS'))

@pytest.mark.parametrize('data', [b'', b'no picture', photo('JPEG')[:300], photo('PNG')[:-30]])
def test_what_cannot_be_decoded_is_not_kept(data): assert clean_upload(data) == b''

def test_colour_profiles_and_texts_are_not_stored(tmp_path):
    "A picture of a program's own, with notes beside the pixels."
    store, im = Store(str(tmp_path)), RED.copy()
    im.info = dict(icc_profile=b'profile of my phone', comment=b'at home', exif=b'Exif\0\0my phone')
    chat, _ = store.add_message(ada := store.add_user('ada'), None, 'Why?', im)
    kept = store.picture_path(store.messages(ada, chat)[0]['picture']).read_bytes()
    assert len(kept) < 200 and b'phone' not in kept and b'iCCP' not in kept

# Visits

def test_the_copies_go_with_their_chat(tmp_path):
    "What a visit shows of a chat goes when the chat is deleted, and of a child when the child is."
    page = Page(Script(), PageSettings(examples=0, store=Store(str(tmp_path/'store')), auth=True))
    ids = {name: page.store.add_user(name) for name in ('ada', 'bob')}
    ask = lambda i: page.store.add_message(i, None, 'Why?', Image.new('RGB', (9, 9+i)))[0]
    chats = {name: ask(i) for name, i in ids.items()}
    def show(name):
        messages = page.store.messages(ids[name], chats[name])
        return [page.turn_of(m, page.session_folder(c*64)).file for m in messages for c in 'ab']
    shown = {name: show(name) for name in ids}
    page.drop_chat(ids['ada'], chats['bob'])  # not hers
    assert all(map(os.path.exists, shown['ada']+shown['bob']))
    page.drop_chat(ids['ada'], chats['ada'])
    assert not any(map(os.path.exists, shown['ada'])) and all(map(os.path.exists, shown['bob']))
    page.drop_child(page.store.user('bob'))
    assert not any(map(os.path.exists, shown['bob'])) and not pictures(page.store)

def test_a_strangers_visit_is_gone_when_it_ends():
    page = Page(Script(), PageSettings(examples=0, shared=True))
    class Request: username, session_hash = None, 'ab'*32
    user = page.user_of(Request)
    chat, _ = page.store.add_message(user['id'], None, 'a very secret xylophone', RED)
    turn = page.turn_of(page.store.messages(user['id'], chat)[0], page.session_folder(Request.session_hash))
    assert os.path.exists(turn.file) and written(page.home.path, 'xylophone')
    page.on_unload(Request)
    assert not os.path.exists(turn.file) and not pictures(page.store) and not written(page.home.path, 'xylophone')
    page.on_unload(Request)  # twice is once

VISIT = """
import os, signal, sys
from sciencetutor.app.core import Page, PageSettings
from test_page import Script
page = Page(Script(), PageSettings(examples=0, shared=True))
page.uploads.add(page.uploads.folder('ab'*32), b'a very secret xylophone')
page.store.add_message(page.store.add_user('visit'), None, 'a very secret xylophone')
os.kill(os.getpid(), signal.SIGKILL)
"""

def test_what_a_killed_server_leaves_goes_with_the_next(tmp_path, monkeypatch):
    env = {k: v for k, v in os.environ.items() if k != 'GRADIO_TEMP_DIR'} | dict(TMPDIR=str(tmp_path))
    tests = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, '-c', VISIT], env=env | dict(PYTHONPATH=tests+':'+env.get('PYTHONPATH', '')))
    assert done.returncode == -signal.SIGKILL and len(written(tmp_path, 'xylophone')) >= 2
    keep = [PrivateFolder(p, tmp_path) for p in ('sciencetutor-page-', 'sciencetutor-uploads-')]
    assert not written(tmp_path, 'xylophone') and all(k.path.exists() for k in keep)

SERVED = """
import os, signal, sys
from sciencetutor.serve.core import page_options
from sciencetutor.app.uploads import Uploads
page_options('127.0.0.1', sys.argv[1], False, 0)
uploads = Uploads()
print(uploads.add(uploads.folder('ab'*32), b'a very secret xylophone'), flush=True)
if sys.argv[2:]: os.kill(os.getpid(), signal.SIGKILL)
"""

def test_all_pictures_are_in_the_store(tmp_path):
    "What visits are shown lies in the store's folder of pictures; after a kill it goes with the next start."
    env = {k: v for k, v in os.environ.items() if k != 'GRADIO_TEMP_DIR'}
    serve = lambda *a: subprocess.run([sys.executable, '-c', SERVED, str(tmp_path/'store'), *a], env=env,
                                      capture_output=True, text=True)
    killed = serve('die')
    first = Path(killed.stdout.strip())
    assert killed.returncode == -signal.SIGKILL and first.exists()
    assert first.is_relative_to(tmp_path/'store'/'pictures'/'visits')
    second = serve()
    assert second.returncode == 0 and not first.exists() and not written(tmp_path, 'xylophone')

def test_only_dead_marked_folders_are_swept(tmp_path):
    live = PrivateFolder('page-', tmp_path)
    names = ['page-'+'0'*16, 'page-'+'1'*16, 'page-of-mine', 'other-'+'2'*16]
    for name in names: (tmp_path/name).mkdir()
    for name in names[1:]: (tmp_path/name/MARK).touch()
    (tmp_path/('page-'+'3'*16)).symlink_to(tmp_path/'page-of-mine')
    again = PrivateFolder('page-', tmp_path)
    assert live.path.exists() and again.path.exists() and (tmp_path/'page-of-mine'/MARK).exists()
    assert [(tmp_path/name).exists() for name in names] == [True, False, True, True]
    path = live.path
    del live
    assert not path.exists()

# The store's place

def mode(path): return path.stat().st_mode & 0o777

def test_a_folder_that_is_there_keeps_its_permissions(tmp_path):
    shared = tmp_path/'shared'
    shared.mkdir()
    shared.chmod(0o755)
    store = Store(str(shared))
    store.add_message(store.add_user('ada'), None, 'Why?', RED)
    assert mode(shared) == 0o755
    assert {mode(p) for p in shared.glob('tutor.db*')} == {0o600} and mode(store.pictures) == 0o700
    Store(str(tmp_path/'new'))
    assert mode(tmp_path/'new') == 0o700

@pytest.mark.parametrize('name', ['a?b', 'a%20b', 'a b', 'a#b', 'file:x?mode=memory', 'a&b=c;d', 'ä ö', '~', '-'])
def test_odd_names_of_folders(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for where in tmp_path/name, name:
        store = Store(str(where))
        store.add_user('ada')
        store.close()
    assert [p.name for p in tmp_path.iterdir()] == [name] and (tmp_path/name/'tutor.db').stat().st_size > 0

def test_a_sqlite_url_is_a_folder(tmp_path):
    with pytest.raises(CliError, match='folder'): Store(f'sqlite:///{tmp_path}/a b/x.db')
    assert not list(tmp_path.iterdir())

def test_a_newer_schema_is_told_in_one_line(tmp_path):
    store = Store(str(tmp_path))
    with store.transaction() as c: c.exec_driver_sql("UPDATE alembic_version SET version_num='0099'")
    store.close()
    with pytest.raises(CliError, match='newer') as e: Store(str(tmp_path))
    assert '\n' not in str(e.value)

def test_a_store_of_the_present_version_opens(tmp_path):
    "Tables, permissions and files as the version before left them: nothing is lost, and the names are mended."
    from sciencetutor.app.store import migrate
    db = make_db(f'sqlite:///{tmp_path}/tutor.db')
    migrate(db, '0004')
    picture = 'ab'*32
    (tmp_path/'pictures'/'ab').mkdir(parents=True)
    for name in picture, 'ab'+'cd'*31: (tmp_path/'pictures'/'ab'/f'{name}.png').write_bytes(b'png')
    with db.begin() as c:
        for sql in ("INSERT INTO users (id, name, created, role, hash) VALUES (1, ' ada ', 1, 'child', 'x'),"
                    " (2, 'bob', 1, 'adult', NULL), (3, 'bob ', 1, 'child', NULL)",
                    "INSERT INTO conversations (id, user_id, title, created, updated) VALUES ('c', 1, 'Why?', 1, 2)",
                    "INSERT INTO messages (id, conversation_id, created, question, choices, picture, probs) "
                    f"VALUES (1, 'c', 1, 'Why?', '[]', '{picture}', '[]')"): c.exec_driver_sql(sql)
    db.dispose()
    (tmp_path/'tutor.db').chmod(0o644)
    store = Store(str(tmp_path))
    assert [u['name'] for u in store.users()] == ['ada', 'bob', 'bob ']
    assert store.messages(1, 'c')[0]['question'] == 'Why?' and mode(tmp_path/'tutor.db') == 0o600
    assert pictures(store) == [f'{picture}.png']  # the one that no message has is swept

def test_the_database_is_not_opened_beside_sqlite(tmp_path):
    "Closing any other handle of the file in this process would drop the lock of a running transaction."
    store = Store(str(tmp_path))
    code = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
    write = [sys.executable, '-c', code, str(tmp_path/'tutor.db')]
    with store.transaction() as c:
        c.execute(store['users'].insert().values(name='ada', created=1., role='child'))
        module.make_private(tmp_path)  # as another store on the same folder does
        assert b'locked' in subprocess.run(write, capture_output=True).stderr
    assert not subprocess.run(write, capture_output=True).stderr

# The clock

def test_a_clock_set_back_deletes_nothing_new(tmp_path, monkeypatch):
    store, now = Store(str(tmp_path)), time.time()
    ada = store.add_user('ada')
    old_chat, old = ask_at(store, ada, now-50*86400, monkeypatch, 'long ago')
    ask_at(store, ada, now-86400, monkeypatch, 'yesterday')
    new_chat, _ = ask_at(store, ada, 86_400., monkeypatch, 'in 1970, that is now')
    store.forget(30)
    assert [m['question'] for m in store.asked(ada)] == ['in 1970, that is now', 'yesterday']
    assert store.messages(ada, new_chat) and len(store.results(ada)) == 2 and set(store.mastery(ada)) == {'Magnets'}
    store.forget(-1)  # in the end all goes
    assert not store.asked(ada) and not store.history(ada) and not store.mastery(ada)

def ask_at(store, user, seconds, monkeypatch, words):
    with monkeypatch.context() as m:
        m.setattr(time, 'time', lambda: seconds)
        asked = store.add_message(user, None, words)
        store.add_result(user, 'Magnets', words, 'a', True, .5)
        return asked
