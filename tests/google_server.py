"""Vertex AI, Compute Engine, Cloud Logging and Secret Manager on loopback, in memory.

Every request is parsed with the message classes of Google's own libraries:
a field that they do not know, or a value that does not fit, is an error here as it would be there."""
import base64, json, re, socket, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse
import requests
from google.cloud import aiplatform_v1 as v1, compute_v1 as gce
from google.cloud.aiplatform_v1 import JobState, PipelineState

NOW, LOST = '2026-11-23T21:00:00Z', 'lost'


class FakeGoogle:
    """Google on loopback.

    `failures` is a list of (status, message) that the next changes are answered with; with a message of `LOST` the
    change is made all the same. `job_states` are the states that a job goes through, one for each look;
    `operation_errors` what the next machines end with; `dropped` how many requests of any kind find nobody at home;
    `watch` is called before each request."""
    def __init__(self):
        self.calls, self.failures, self.entries = [], [], []
        self.jobs, self.pipelines, self.vms, self.rules, self.addresses, self.secrets = {}, {}, {}, {}, {}, {}
        self.job_states, self.operations, self.on_success = ['PENDING', 'RUNNING', 'RUNNING', 'SUCCEEDED'], {}, None
        self.operation_errors, self.errors, self.requests = [], {}, {}
        self.builds, self.build_states, self.repositories = [], ['QUEUED', 'WORKING', 'SUCCESS'], {}
        self.storage_refusal, self.payers = None, []  # (status, message); with `requester pays` it ends with a payer
        self.models, self.endpoints, self.serving_errors, self.container = {}, {}, [], ''  # an error ends an operation
        self.dropped, self.page, self.t4, self.watch = 0, 1000, 1, lambda verb, path: None
        google = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'
            def log_message(self, *a): pass

            def handle_any(self):
                url = urlparse(self.path)
                body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
                google.calls.append((self.command, url.path))
                if google.dropped:
                    google.dropped -= 1
                    self.close_connection = True
                    return self.connection.shutdown(socket.SHUT_RDWR)
                assert 'Authorization' not in self.headers, 'a key over plain HTTP'
                request = self.command, url.path, json.loads(body) if body.startswith(b'{') else {}, parse_qs(url.query)
                code, error = 200, None
                try: answer = google.answer(*request)
                except Refused as e: code, error = e.args
                except Exception as e: code, error = 400, f'{type(e).__name__}: {e}'
                if error: answer = dict(error=dict(code=code, message=error, status='INVALID_ARGUMENT'))
                text = json.dumps(answer).encode()
                self.send_response(code)
                self.send_header('Content-Length', str(len(text)))
                self.send_header('Content-Type', 'application/json')
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server.server_address[1]}'
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def variables(self) -> dict:
        "What a client has to be told."
        services = 'AIPLATFORM', 'COMPUTE', 'LOGGING', 'SECRETMANAGER', 'CLOUDBUILD', 'ARTIFACTREGISTRY'
        return {f'CLOUDSDK_API_ENDPOINT_OVERRIDES_{service}': self.url for service in services}

    def answer(self, verb, path, body, query):
        if self.failures and verb == 'POST' and 'entries:list' not in path:
            code, message = self.failures.pop(0)
            if message == LOST: self.handle(verb, path, body, query)
            raise Refused(code, message)
        self.watch(verb, path)
        return self.handle(verb, path, body, query)

    def handle(self, verb, path, body, query):
        place = r'(projects/\w+/locations/[\w-]+)'
        routes = {
            rf'/v1/{place}/customJobs': self.custom_jobs,
            rf'/v1/({place[1:-1]}/customJobs/\d+(?::cancel)?)': self.custom_job,
            rf'/v1/{place}/pipelineJobs': self.pipeline_jobs,
            rf'/v1/({place[1:-1]}/pipelineJobs/[\w-]+(?::cancel)?)': self.pipeline_job,
            rf'/v1/{place}/(models|endpoints)(?::upload|/([\w-]+))?(?::(\w+))?': self.serving,
            rf'/v1/{place}/operations/(\d+)': self.long_running,
            r'/v2/entries:list': self.log_entries,
            r'/v1/projects/(\w+)/secrets/([\w-]+)/versions/latest:access': self.secret,
            r'/compute/v1/projects/(\w+)/(.*)': self.compute,
            r'/v1/projects/(\w+)/builds(?:/(\d+))?': self.build,
            rf'/v1/{place}/repositories(?:/([\w-]+))?': self.repository,
            r'/(?:upload/|download/)?storage/v1/b/([\w-]+)/o(?:/(.+))?': self.storage,
        }
        for pattern, method in routes.items():
            if m := re.fullmatch(pattern, path): return method(verb, body, query, *m.groups())
        raise Refused(404, f'{verb} {self.url}{path}: no such thing')

    # Cloud Build and Artifact Registry have no client library here: the fields are those of their REST reference
    def build(self, verb, body, query, project, number):
        if verb == 'GET':
            state = self.build_states.pop(0) if len(self.build_states) > 1 else self.build_states[0]
            return dict(id=number, status=state, logUrl='https://console/builds/1')
        assert set(body) <= {'source', 'steps', 'images', 'timeout', 'tags', 'options'} and body['steps'], body
        self.builds.append(body)
        return dict(metadata=dict(build=dict(id=str(len(self.builds)))))

    def repository(self, verb, body, query, parent, name):
        if verb == 'GET' and name not in self.repositories: raise Refused(404, f'{name} does not exist')
        if verb == 'POST': self.repositories[query['repositoryId'][0]] = body
        return {}

    # Vertex AI: what is created is read back with the same message class, and comes out as JSON of that class
    def listed(self, kind, cls, store, query):
        wanted = dict(re.findall(r'labels\.(\w+)="([^"]*)"', query.get('filter', [''])[0]))
        found = [o for o in store.values() if all(o.labels.get(k) == v for k, v in wanted.items())]
        return {kind: [json.loads(cls.to_json(o)) for o in found]}

    def custom_jobs(self, verb, body, query, parent):
        if verb == 'GET': return self.listed('customJobs', v1.CustomJob, self.jobs, query)
        job = v1.CustomJob.from_json(json.dumps(body))
        assert job.display_name and job.job_spec.worker_pool_specs, 'display_name and a worker pool are required'
        assert not job.name, 'the name is ours'
        pool = job.job_spec.worker_pool_specs[0]
        prebuilt = pool.python_package_spec.executor_image_uri
        assert bool(pool.container_spec.image_uri) != bool(prebuilt), 'container or Python package'
        job.name, job.create_time = f'{parent}/customJobs/{1000 + len(self.jobs)}', NOW
        job.state = JobState.JOB_STATE_QUEUED
        self.jobs[job.name] = job
        return json.loads(v1.CustomJob.to_json(job))

    def advance(self, o, enum, prefix):
        "The next state of a job's play."
        states = self.operations.setdefault(o.name, list(self.job_states))
        state = states.pop(0) if len(states) > 1 else states[0]
        o.state = enum[f'{prefix}_STATE_{state}']
        if state == 'FAILED': o.error = dict(code=13, message='the worker exited with code 1')
        if state == 'SUCCEEDED' and self.on_success: self.on_success(o)

    def cancel(self, o, enum, prefix):
        "What runs is ended; what has ended is refused."
        if o.state.name.endswith(('SUCCEEDED', 'FAILED', 'CANCELLED')): raise Refused(400, f'{o.name} is not running')
        o.state = enum[f'{prefix}_STATE_CANCELLED']
        return {}

    def custom_job(self, verb, body, query, name):
        name, _, action = name.partition(':')
        if name not in self.jobs: raise Refused(404, f'{name} does not exist')
        if action: return self.cancel(self.jobs[name], JobState, 'JOB')
        self.advance(self.jobs[name], JobState, 'JOB')
        return json.loads(v1.CustomJob.to_json(self.jobs[name]))

    def pipeline_jobs(self, verb, body, query, parent):
        if verb == 'GET': return self.listed('pipelineJobs', v1.PipelineJob, self.pipelines, query)
        job = v1.PipelineJob.from_json(json.dumps(body))
        inputs = job.pipeline_spec['root']['inputDefinitions']['parameters']
        assert set(job.runtime_config.parameter_values) <= set(inputs), 'a parameter that the pipeline does not have'
        given = job.runtime_config.parameter_values
        assert all(k in given or d.get('isOptional') for k, d in inputs.items()), 'a parameter is missing'
        job.name, job.create_time = f'{parent}/pipelineJobs/run-{len(self.pipelines)}', NOW
        job.state = PipelineState.PIPELINE_STATE_QUEUED
        self.pipelines[job.name] = job
        return json.loads(v1.PipelineJob.to_json(job))

    def pipeline_job(self, verb, body, query, name):
        name, _, action = name.partition(':')
        job = self.pipelines[name]
        if action: return self.cancel(job, PipelineState, 'PIPELINE')
        self.advance(job, PipelineState, 'PIPELINE')
        def task(number, name, state):
            detail = dict(container_detail=dict(main_job=f'projects/p/locations/l/customJobs/{number}'))
            return dict(task_name=name, state=state, executor_detail=detail)
        state = job.state.name.rpartition('_')[2]
        if state not in ('SUCCEEDED', 'FAILED'): state = 'RUNNING'
        job.job_detail = dict(task_details=[task(7000, 'data-step', 'SUCCEEDED'), task(7001, 'train-step', state)])
        return json.loads(v1.PipelineJob.to_json(job))

    # Models and endpoints: each change is an operation that is not done at first; `container` is who answers
    def serving(self, verb, body, query, parent, kind, name, action):
        cls, store = dict(models=(v1.Model, self.models), endpoints=(v1.Endpoint, self.endpoints))[kind]
        if action == 'predict':
            container = store[name] and requests.post(f'{self.container}/predict', json=body, timeout=60)
            if not container.ok: raise Refused(container.status_code, container.text)
            return dict(container.json(), deployedModelId='1')
        if verb == 'GET' and not name: return self.listed(kind, cls, store, query)
        if verb == 'POST' and not action: name = self.make_serving(kind, cls, store, body, query)
        if name not in store: raise Refused(404, f'{name} does not exist')
        if verb == 'GET': return json.loads(cls.to_json(store[name]))
        if verb == 'DELETE' and kind == 'endpoints': assert not store[name].deployed_models, 'a model is deployed'
        if verb == 'DELETE': del store[name]
        if self.serving_errors and action: return self.long_running(verb, body, query, parent, '666')
        if action: getattr(self, action)(store[name], body)
        return self.long_running(verb, body, query, parent, '1')

    def make_serving(self, kind, cls, store, body, query):
        if kind == 'models':
            request = v1.UploadModelRequest.from_json(json.dumps(body))
            o, name = request.model, request.model_id or request.parent_model.rpartition('/')[2]
            assert bool(request.model_id) == (name not in store), 'a model that is there gets a version'
            o.version_id = str(int(store[name].version_id) + 1) if name in store else '1'
        else: o, name = cls.from_json(json.dumps(body)), query['endpointId'][0]
        o.create_time = NOW
        store[name] = o
        return name

    def deployModel(self, endpoint, body):
        deployed = v1.DeployedModel.from_json(json.dumps(body['deployedModel']))
        assert body['trafficSplit'] == {'0': 100}
        name, _, deployed.model_version_id = deployed.model.rpartition('/')[2].partition('@')
        deployed.id = str(len(endpoint.deployed_models) + 1 + 10*int(self.models[name].version_id))
        endpoint.deployed_models.append(deployed)

    def undeployModel(self, endpoint, body):
        endpoint.deployed_models = [d for d in endpoint.deployed_models if d.id != body['deployedModelId']]

    def long_running(self, verb, body, query, parent, number):
        operation = dict(name=f'{parent}/operations/{number}')
        if verb != 'GET': return operation
        if number == '666': return dict(operation, done=True, error=dict(code=8, message=self.serving_errors.pop(0)))
        return dict(operation, done=True, response={'@type': 'type.googleapis.com/google.protobuf.Empty'})

    def log_entries(self, verb, body, query):
        jobs = re.findall(r'"([\w-]+)"', re.search(r'resource\.labels\.job_id=\(([^)]+)\)', body['filter'])[1])
        since = re.search(r'timestamp>="([^"]+)"', body['filter'])
        mine = [e for e in self.entries if e['resource']['labels']['job_id'] in jobs]
        found = [e for e in mine if not since or e['timestamp'] >= since[1]]
        found.sort(key=lambda e: (e['timestamp'], int(e['insertId'])), reverse='desc' in body.get('orderBy', ''))
        start = int(body.get('pageToken', 0))
        end = start + min(body['pageSize'], self.page)
        return dict(entries=found[start:end], **(dict(nextPageToken=str(end)) if end < len(found) else {}))

    def add_log(self, job, text, second=0):
        "A line in the log of a job."
        resource = dict(type='ml_job', labels=dict(job_id=job))
        self.entries.append(dict(insertId=str(len(self.entries)), timestamp=f'2026-11-23T21:00:{second:02}Z',
                                 textPayload=text, resource=resource))

    def secret(self, verb, body, query, project, name):
        if name not in self.secrets: raise Refused(403, f'{self.url}: permission denied on secret {name}')
        return dict(payload=dict(data=base64.b64encode(self.secrets[name].encode()).decode()))

    def storage(self, verb, body, query, bucket, name):
        "An empty bucket."
        self.payers += query.get('userProject', [])
        status, message = self.storage_refusal or (0, '')
        if status and not ('requester pays' in message and 'userProject' in query): raise Refused(status, message)
        if name: raise Refused(404, f'No such object: {bucket}/{name}')
        return dict(kind='storage#objects')

    # Compute Engine: changes are operations that are pending at first
    def compute(self, verb, body, query, project, path):
        place = r'(?:zones/[\w-]+/|regions/[\w-]+/|global/)'
        if m := re.fullmatch(place + r'operations/([\w-]+)(?:/wait)?', path):
            return self.operation(m[1], 'DONE', self.errors.get(m[1]))
        if m := re.fullmatch(r'regions/([\w-]+)', path):
            quota = gce.Quota(metric='NVIDIA_T4_GPUS', limit=self.t4, usage=0)
            return json.loads(gce.Region.to_json(gce.Region(name=m[1], quotas=[quota])))
        m = re.fullmatch(place + r'(instances|firewalls|addresses)(?:/([\w-]+))?(?:/(\w+))?', path)
        kind, name, action = m.groups()
        if verb != 'GET':
            number = query['requestId'][0]  # the same number is the same request
            if number in self.requests: return self.operation(self.requests[number], 'RUNNING')
            self.requests[number] = f'operation-{len(self.calls)}'
            if kind == 'instances' and self.operation_errors:
                self.errors[self.requests[number]] = self.operation_errors.pop(0)
                return self.operation(self.requests[number], 'RUNNING')
        cls, store = dict(instances=(gce.Instance, self.vms), firewalls=(gce.Firewall, self.rules),
                          addresses=(gce.Address, self.addresses))[kind]
        if verb == 'POST' and not name:
            o = cls.from_json(json.dumps(body))
            if o.name in store: raise Refused(409, f'{o.name} already exists')
            if kind == 'addresses': o.address = '203.0.113.7'
            if kind == 'instances': o.status, o.creation_timestamp = 'RUNNING', NOW
            store[o.name] = o
        elif not name: return dict(items=[json.loads(cls.to_json(o)) for o in store.values()], kind='list')
        elif name not in store: raise Refused(404, f'{self.url}/{path}: {name} was not found')
        elif action == 'serialPort':
            return dict(contents='Booting\nScienceTutor (tutor) is ready\n', start='0', next='30')
        elif verb == 'GET': return json.loads(cls.to_json(store[name]))
        elif verb == 'DELETE': del store[name]
        elif verb in ('PUT', 'PATCH'): store[name] = cls.from_json(json.dumps(body))
        else: store[name].status = {'stop': 'TERMINATED', 'start': 'RUNNING'}[action]
        return self.operation(self.requests[query['requestId'][0]], 'RUNNING')

    def operation(self, name, status, error=None):
        failed = dict(error=dict(errors=[dict(code=error[0], message=error[1])])) if error else {}
        return json.loads(gce.Operation.to_json(gce.Operation(name=name, status=status, **failed)))


class Refused(Exception): pass
