"The container of a Vertex AI endpoint: started as Vertex AI starts it, and asked as Vertex AI asks."
import json, os, socket, subprocess, sys, time
from pathlib import Path
import pytest, requests
from fastcore.script import CliError
from sciencetutor.engine.core import Engine
from sciencetutor.serve.core import Reach, Server, open_port
from sciencetutor.serve.vertex import vertex_paths
from test_page import Script

root = Path(__file__).resolve().parent.parent
MODEL = '/v1/endpoints/123/deployedModels/456'  # what Vertex AI says where a container has no paths of its own
AIP = dict(AIP_PREDICT_ROUTE=f'{MODEL}:predict', AIP_HEALTH_ROUTE=MODEL)


@pytest.fixture(scope='module')
def server():
    with Server(Engine('tiny'), open_port('127.0.0.1', 0), reach=Reach(vertex=vertex_paths(AIP))) as s: yield s


def ask(s, **body): return requests.post(f'{s.url}{MODEL}:predict', json=body, timeout=30)


def test_instances_become_predictions_in_their_order(server):
    "Each as the tutor's own API answers it, with parameters said once; a picture is in the answer itself."
    questions = [dict(question='Which is solid?', choices=['milk', 'a rock']), dict(question='Why do magnets attract?')]
    r = ask(server, instances=questions, parameters=dict(max_new_tokens=20.0, grade=4.0))
    first, second = r.json()['predictions']
    assert r.status_code == 200 and first['choice'] in ('milk', 'a rock') and first['choices'] == ['milk', 'a rock']
    assert second['choice'] is None and 'magnet' in second['explanation'].lower()
    own = requests.post(f'{server.url}/v1/tutor/answer', json=dict(questions[1], grade=4), timeout=30).json()
    assert {k: v for k, v in second.items() if k != 'picture'} == {k: v for k, v in own.items() if k != 'picture'}
    assert bool(second['picture']) == bool(own['picture'])
    if own['picture']: assert second['picture']['url'].startswith('data:image/svg+xml;base64,')


def test_a_picture_is_in_the_answer(server):
    import base64
    from sciencetutor.app.retrieval import finder
    card = next(c for c in finder().by_id.values() if c.picture)
    (said,) = ask(server, instances=[dict(question=card.asked[0])]).json()['predictions']
    assert base64.b64decode(said['picture']['url'].partition(',')[2]).startswith(b'<svg') and said['picture']['alt']


def test_raw_predict_streams_what_openai_streams(server):
    said = dict(messages=[dict(role='user', content='Tell me a story.')], bare=True, temperature=0, max_tokens=12)
    whole = ask(server, **said).json()['choices'][0]['message']['content']
    with requests.post(f'{server.url}{MODEL}:predict', json=dict(said, stream=True), stream=True, timeout=30) as r:
        assert r.headers['content-type'].startswith('text/event-stream')
        events = [line.removeprefix('data: ') for line in r.iter_lines(decode_unicode=True) if line]
    assert events.pop() == '[DONE]' and len(events) > 4
    assert ''.join(json.loads(e)['choices'][0]['delta'].get('content', '') for e in events) == whole


@pytest.mark.parametrize('body,says', [
    (dict(), 'Send instances'), (dict(prompt='Why?'), 'Send instances'), (dict(instances=[]), '1 to 32'),
    (dict(instances=[dict(question='x')]*33), '1 to 32'), (dict(instances=['Why?']), 'instances.0'),
    (dict(instances=[dict(question='Why?'), dict(choices=['a', 'b'])]), 'instances.1.question'),
    (dict(instances=[dict(question=' ')]), 'The question is empty')])
def test_what_is_wrong_is_said_in_one_line(server, body, says):
    r = ask(server, **body)
    assert r.status_code == 400 and says in r.json()['error']['message']


def test_well_is_who_takes_questions(server):
    assert requests.get(server.url+MODEL, timeout=30).json() == dict(status='ready', model='tiny')
    server.gateway.admission.draining = True
    try: assert requests.get(server.url+MODEL, timeout=30).status_code == 503
    finally: server.gateway.admission.draining = False


def test_nowhere_else_are_there_such_routes():
    with Server(Script(), open_port('127.0.0.1', 0), reach=Reach(vertex=vertex_paths({}))) as s:
        assert ask(s, instances=[dict(question='Why?')]).status_code in (404, 405)
    for wrong in (dict(AIP_HEALTH_ROUTE='/health'), dict(AIP_HEALTH_ROUTE='health', AIP_PREDICT_ROUTE='/predict'),
                  dict(AIP_HEALTH_ROUTE='/x', AIP_PREDICT_ROUTE='/x')):
        with pytest.raises(CliError, match='set both'): vertex_paths(wrong)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def other_user() -> dict:
    "For `subprocess`: not root, if this is root and another may run this Python."
    if os.geteuid(): return {}
    nobody = dict(user=65534, group=65534, extra_groups=[])
    try: subprocess.run([sys.executable, '-c', ''], check=True, **nobody)
    except (PermissionError, subprocess.CalledProcessError): return {}
    return nobody


def test_the_container_as_vertex_ai_starts_it(tmp_path):
    "deploy/serve.sh with the environment that Vertex AI sets, no HOME, and where that can be had here no root."
    port, bin = free_port(), tmp_path/'bin'
    bin.mkdir()
    (bin/'sciencetutor').write_text(f'#!/bin/sh\nexec {sys.executable} -m sciencetutor.cli "$@"\n')
    (bin/'sciencetutor').chmod(0o755)
    env = dict(AIP, AIP_HTTP_PORT=str(port), AIP_STORAGE_URI='', MODEL='tiny', PATH=f'{bin}:/usr/bin:/bin',
               PYTHONPATH=str(root), XDG_CACHE_HOME=str(tmp_path), TMPDIR=str(tmp_path), HF_HUB_OFFLINE='1')
    tmp_path.chmod(0o777)
    child = subprocess.Popen(['sh', root/'deploy/serve.sh'], env=env, cwd='/', stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, **other_user())
    url, end = f'http://127.0.0.1:{port}{MODEL}', time.monotonic() + 120
    asked = dict(host='123.us-west1-1.prediction.vertexai.goog')
    try:
        well = 0
        while well != 200:
            assert child.poll() is None and time.monotonic() < end, child.stdout.read()
            try: well = requests.get(url, headers=asked, timeout=10).status_code
            except requests.RequestException: time.sleep(.2)  # not yet
        body = dict(instances=[dict(question='Which is a mammal?', choices=['trout', 'bat'], max_new_tokens=4)])
        r = requests.post(f'{url}:predict', json=body, headers=asked, timeout=60)
        assert r.json()['predictions'][0]['choices'] == ['trout', 'bat']
    finally: child.terminate()
    assert child.wait(60) == 0
