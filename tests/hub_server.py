"The endpoints of the Hugging Face hub that uploads and downloads call, on loopback and in memory."
import base64, hashlib, json, re, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse


class Hub:
    """Repositories in memory; `fail_after` answers 403 to the transfers after so many.

    `refuse` is (pattern of a path, status, message, headers): what every request for such a path is answered with."""
    def __init__(self):
        self.repos, self.private, self.lfs, self.calls, self.fail_after, self.token = {}, {}, {}, [], None, 'hf_secret'
        self.refuse = None
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'
            def log_message(self, *a): pass

            def reply(self, body=b'', code=200, **headers):
                if not isinstance(body, bytes):
                    body, headers = json.dumps(body).encode(), headers | {'Content-Type': 'application/json'}
                self.send_response(code)
                for k, v in {'Content-Length': str(len(body)), **headers}.items():
                    self.send_header(k.replace('_', '-'), v)
                self.end_headers()
                if self.command != 'HEAD': self.wfile.write(body)

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
                path = unquote(urlparse(self.path).path)
                hub.calls.append((self.command, path))
                if not path.startswith('/lfs/') and self.headers.get('Authorization') != f'Bearer {hub.token}':
                    return self.reply(dict(error='who are you?'), 401)
                if hub.refuse and re.search(hub.refuse[0], path):
                    _, code, message, headers = hub.refuse
                    return self.reply(dict(error=message), code, X_Error_Message=message, **headers)
                answer = hub.answer(self.command, path, body, self.headers)
                body, code, headers = (*answer, *(200, {})[len(answer) - 1:])
                self.reply(body, code, **headers)

            do_GET = do_POST = do_PUT = do_HEAD = handle_any

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server.server_address[1]}'
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def transfer(self) -> bool:
        "Whether one more file may pass."
        if self.fail_after is None: return True
        self.fail_after -= 1
        return self.fail_after >= 0

    def sha(self, repo) -> str: return hashlib.sha1(repr(sorted(self.repos[repo].items())).encode()).hexdigest()

    def answer(self, method, path, body, headers):
        if path == '/api/repos/create':
            d = json.loads(body)
            name = f'{d["organization"]}/{d["name"]}'
            self.repos.setdefault(name, {})
            self.private.setdefault(name, d.get('visibility', 'private' if d.get('private') else 'public'))
            return (dict(url=f'{self.url}/datasets/{name}'),)
        if m := re.fullmatch(r'/api/(?:datasets|models)/([^/]+/[^/]+)/preupload/main', path):
            mode = lambda f: 'lfs' if f['path'].endswith(('.arrow', '.safetensors')) else 'regular'
            files = json.loads(body)['files']
            return (dict(files=[dict(path=f['path'], uploadMode=mode(f), shouldIgnore=False) for f in files]),)
        if path.endswith('/info/lfs/objects/batch'):
            objects = json.loads(body)['objects']
            for o in objects:
                if o['oid'] not in self.lfs: o['actions'] = dict(upload=dict(href=f'{self.url}/lfs/{o["oid"]}'))
            return (dict(transfer='basic', objects=objects),)
        if path.startswith('/lfs/') and method == 'PUT':
            if not self.transfer(): return dict(error='down'), 403
            assert hashlib.sha256(body).hexdigest() == path[5:]
            self.lfs[path[5:]] = body
            return ({},)
        if m := re.fullmatch(r'/api/(?:datasets|models)/([^/]+/[^/]+)/commit/main', path):
            files = dict(self.repos[m[1]])
            for line in map(json.loads, body.decode().splitlines()):
                v = line['value']
                if line['key'] == 'file': files[v['path']] = base64.b64decode(v['content'])
                if line['key'] == 'lfsFile': files[v['path']] = self.lfs[v['oid']]
                if line['key'] == 'deletedFile': files.pop(v['path'], None)
            self.repos[m[1]] = files
            sha = self.sha(m[1])
            return (dict(commitUrl=f'{self.url}/{m[1]}/commit/{sha}', commitOid=sha, pullRequestUrl=None),)
        if m := re.fullmatch(r'/api/(?:datasets|models)/([^/]+/[^/]+)(/revision/[^/]+|/tree/.+)?', path):
            if m[1] not in self.repos: return dict(error='no such repository'), 404
            if (m[2] or '').startswith('/tree'):
                files = self.repos[m[1]].items()
                return ([dict(type='file', path=p, size=len(b), oid=hashlib.sha1(b).hexdigest()) for p, b in files],)
            siblings = [dict(rfilename=p, size=len(b)) for p, b in self.repos[m[1]].items()]
            info = dict(id=m[1], sha=self.sha(m[1]), siblings=siblings, private=self.private[m[1]] == 'private')
            return (info | dict(tags=[], downloads=0, likes=0),)
        if m := re.fullmatch(r'/(?:datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)', path):
            if method == 'GET' and not self.transfer(): return dict(error='down'), 403
            data = self.repos[m[1]][m[3]]
            return data, 200, {'ETag': f'"{hashlib.sha256(data).hexdigest()}"', 'X-Repo-Commit': m[2]}
        return dict(error=f'not spoken here: {method} {path}'), 404

    def close(self):
        self.server.shutdown()
        self.server.server_close()
