"What clients of other servers send, answered as OpenAI's servers do or refused in one clear line."
import httpx, openai, pytest, requests
from sciencetutor.serve import api
from test_api import Slow, error, serving

SCHOOL = 'https://school.example'
STAINLESS = ('authorization, content-type, x-stainless-arch, x-stainless-lang, x-stainless-os, '
             'x-stainless-package-version, x-stainless-retry-count, x-stainless-runtime, x-stainless-runtime-version, '
             'x-stainless-timeout')  # as openai-node asks for

@pytest.fixture(scope='module')
def slow():
    s = Slow()
    s.pause = 0
    return s

@pytest.fixture(scope='module')
def url(slow):
    with serving(api.make_api(slow, rate=0, cors=(SCHOOL,))) as u: yield u

def chat(url, **body):
    messages = body.pop('messages', [dict(role='user', content='Tell me a story')])
    return requests.post(f'{url}/v1/chat/completions', json=dict(messages=messages, bare=True, **body))

@pytest.mark.parametrize('body,want', [
    (dict(max_tokens=-1), 1024), (dict(max_tokens=None), 1024), (dict(max_completion_tokens=-1), 1024),
    (dict(max_completion_tokens=None), 1024), (dict(max_completion_tokens=7, max_tokens=-1), 7),
    (dict(max_tokens=7), 7), (dict(max_tokens=-5), 1024), ({}, 512)])
def test_no_limit_of_the_client(url, slow, body, want):
    assert chat(url, **body).status_code == 200 and slow.asked[-1][2]['max_new_tokens'] == want

@pytest.mark.parametrize('value,want', [(-1, 1024), (None, 1024), (7, 7)])
def test_no_limit_on_the_other_routes(url, slow, value, want):
    "With a context that would leave nothing to a prompt from which as many tokens are taken."
    body = dict(prompt='Once', bare=True, max_new_tokens=value)
    assert requests.post(f'{url}/api/v1/generate', json=body).status_code == 200
    assert slow.asked[-1][2]['max_new_tokens'] == want
    assert slow.asked[-1][0][0]['max_prompt_tokens'] == 2048-want
    body = dict(question='Tell me a story', max_new_tokens=value)
    assert requests.post(f'{url}/v1/tutor/answer', json=body).status_code == 200
    assert slow.asked[-1][2]['max_new_tokens'] == want
    body = dict(prompt='Once', bare=True, max_tokens=value)
    assert requests.post(f'{url}/v1/completions', json=body).status_code == 200
    assert slow.asked[-1][2]['max_new_tokens'] == want

def test_preflight_of_openai_node(url):
    head = {'origin': SCHOOL, 'access-control-request-method': 'POST', 'access-control-request-headers': STAINLESS}
    r = requests.options(f'{url}/v1/chat/completions', headers=head)
    allowed = {h.strip().lower() for h in r.headers['access-control-allow-headers'].split(',')}
    assert r.status_code == 200 and {h.strip() for h in STAINLESS.split(',')} <= allowed
    assert r.headers['access-control-allow-origin'] == SCHOOL
    other = requests.options(f'{url}/v1/chat/completions', headers={**head, 'origin': 'https://other.example'})
    assert other.status_code == 400 and 'access-control-allow-origin' not in other.headers

def test_stop_strings(url, slow):
    assert chat(url, stop=[str(i) for i in range(16)]).status_code == 200 and len(slow.asked[-1][2]['stop']) == 16
    r = chat(url, stop=[str(i) for i in range(17)])
    assert r.status_code == 400 and 'At most 16 stop strings' in error(r)

@pytest.mark.parametrize('body,word', [
    (dict(messages=[dict(role='tool', content='4', tool_call_id='1')]), 'role tool'),
    (dict(messages=[dict(role='function', content='4', name='add')]), 'no tools are called'),
    (dict(messages=[dict(role='owner', content='?')]), 'system, developer, user or assistant'),
    (dict(response_format=dict(type='json_object')), 'response_format'),
    (dict(response_format=dict(type='json_schema', json_schema=dict(name='x', schema={}))), 'response_format'),
    (dict(tool_choice='required', tools=[{}]), 'tool_choice'),
    (dict(tool_choice=dict(type='function', function=dict(name='add'))), 'tool_choice'), (dict(n=2), 'n is 1')])
def test_what_is_not_done_is_refused(url, body, word):
    r = chat(url, **body)
    assert r.status_code == 400 and word in error(r) and '\n' not in error(r), r.text

def test_what_needs_nothing_is_taken(url):
    "An assistant that called a tool once, an answer wanted as text, tools that may be called or not."
    called = dict(role='assistant', content=None, tool_calls=[dict(id='1', type='function', function=dict(name='add'))])
    messages = [dict(role='developer', content='Be kind.'), dict(role='user', content='Hi'), called,
                dict(role='user', content=[dict(type='text', text='Tell me a story')])]
    r = chat(url, messages=messages, response_format=dict(type='text'), tool_choice='auto', tools=[{}], max_tokens=1)
    assert r.status_code == 200 and r.headers['x-ignored-parameters'] == 'tools'

def test_head_where_somebody_asks_for_health(url):
    for path in '/healthz', '/readyz', '/metrics', '/status':
        r = requests.head(url+path)
        assert r.status_code == 200 and not r.content, path
    paths = requests.get(f'{url}/openapi.json').json()['paths']
    assert all(set(paths[p]) == {'get'} for p in ('/healthz', '/readyz', '/metrics', '/status'))

def test_completions_take_one_prompt(url):
    client = openai.OpenAI(base_url=f'{url}/v1', api_key='none', max_retries=0)
    def ask(prompt): return client.completions.create(model='slow:bare', prompt=prompt, max_tokens=3).choices[0].text
    assert ask('Once') == ask(['Once']) == '0 1 2 '
    with pytest.raises(openai.BadRequestError, match='one text at a time'): ask(['a', 'b'])
    with pytest.raises(openai.BadRequestError, match='prompt'): ask([1, 2])
