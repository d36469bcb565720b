"Which names a server answers to where others reach it, a port that is taken, and keys that nobody sees."
import socket, subprocess, sys
import pytest, requests
from fastcore.script import CliError
from sciencetutor.serve import core
from sciencetutor.serve.core import Reach, Server, open_port, read_keys, run_serve
from test_page import Script

@pytest.fixture(scope='module')
def school():
    "A server on all interfaces, which others call `tutor.school`."
    names = 'tutor.school', '0.0.0.0'
    with Server(Script(), open_port('0.0.0.0', 0), page_options=dict(shared=True), reach=Reach(names)) as s:
        s.port = s.socks[0].getsockname()[1]
        yield s

def get(s, host, path='/', **headers):
    return requests.get(f'http://127.0.0.1:{s.port}{path}', headers=dict(host=host, **headers), timeout=20)

@pytest.mark.parametrize('host', ['evil.example', 'evil.example:80', 'tutor.school.evil.example', 'xtutor.school',
                                  '10.0.0.1.evil.example', '1', '0x7f000001', '[', ''])
def test_other_names_on_all_interfaces(school, host):
    assert all(get(school, host, path).status_code == 400 for path in ('/', '/healthz', '/config'))

@pytest.mark.parametrize('host', ['tutor.school', 'TUTOR.school:7860', 'localhost:1', '127.0.0.1', '192.168.7.7:7860',
                                  '[fe80::1]:7860'])
def test_own_names_on_all_interfaces(school, host):
    assert get(school, host).status_code == get(school, host, '/healthz').status_code == 200

def test_a_rebound_name_is_of_no_use(school):
    "A page of evil.example, whose name has been pointed here, has the same Origin as its Host."
    head = dict(origin='http://evil.example', host='evil.example')
    assert get(school, 'evil.example', '/config', origin='http://evil.example').status_code == 400
    url = f'http://127.0.0.1:{school.port}/api/v1/generate'
    r = requests.post(url, json=dict(prompt='?'), headers=head, timeout=20)
    assert r.status_code == 400
    assert get(school, '127.0.0.1', '/config', origin='http://127.0.0.2').status_code == 403

def test_a_name_is_asked_for():
    for host in '0.0.0.0', '::':
        with pytest.raises(CliError, match='--allowed-hosts'): run_serve('tiny', host=host, port=0, one_port=True)

@pytest.mark.parametrize('names,wanted', [(dict(allowed_hosts=['a.example', 'b.example']), ('a.example', 'b.example')),
                                          (dict(allowed_hosts=['*']), ('*',))])
def test_names_arrive(monkeypatch, names, wanted):
    given = {}
    class Stop(Exception): pass
    def server(*a, **kw):
        given.update(kw)
        raise Stop
    monkeypatch.setattr(core, 'Server', server)
    monkeypatch.setattr(core, 'make_engine', lambda *a: Script())
    with pytest.raises(Stop): run_serve('tiny', host='0.0.0.0', port=0, one_port=True, **names)
    assert given['reach'].names == (*wanted, '0.0.0.0')

# Ports

def test_two_servers_that_start_at_once():
    "The port is taken before the model is loaded, so the second hears of it at once and in one line."
    with open_port('127.0.0.1', 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(CliError, match=f'{port}.*in use.*--port'): open_port('127.0.0.1', port)

def test_a_port_can_be_taken_again():
    with open_port('127.0.0.1', 0) as first:
        port = first.getsockname()[1]
        with socket.create_connection(('127.0.0.1', port)): first.accept()[0].close()
    open_port('127.0.0.1', port).close()  # though an ended connection lingers there

# Keys

def test_keys_from_a_file(tmp_path, monkeypatch):
    file = tmp_path/'keys.txt'
    file.write_text('one\n\n two \n')
    assert read_keys(None, str(file)) == ('one', 'two') and read_keys(['three'], str(file)) == ('three', 'one', 'two')
    monkeypatch.setenv('SCIENCETUTOR_API_KEY', 'four five')
    assert read_keys(None, None) == ('four', 'five') and read_keys(None, str(file)) == ('one', 'two')

@pytest.mark.parametrize('content', [None, b'', b' \n', b'\xff\xfe'])
def test_a_bad_file_of_keys(tmp_path, content):
    "A server that was to have keys does not start without."
    if content is not None: (tmp_path/'keys').write_bytes(content)
    with pytest.raises(CliError, match='--api-key-file'): run_serve('no-such-model', api_key_file=str(tmp_path/'keys'))

def test_help_says_who_sees_a_key():
    said = subprocess.run([sys.executable, '-m', 'sciencetutor.cli', 'serve', '--help'], capture_output=True, text=True)
    assert 'the list of processes shows them' in ' '.join(said.stdout.split()) and '--api-key-file' in said.stdout
