"An endpoint of Vertex AI from its first request to its last, with the tutor's own container behind it."
import pytest, requests
from fastcore.script import CliError
from test_cloud import MINE, fields, google
from sciencetutor.cloud import endpoint
from sciencetutor.cloud.core import run_status
from sciencetutor.cloud.vm import run_deploy

PLACE, IMAGE = 'projects/p/locations/us-west1', 'us-docker.pkg.dev/p/tutor/ui:1'


@pytest.fixture(autouse=True)
def quick(monkeypatch): monkeypatch.setattr(endpoint.time, 'sleep', lambda seconds: None)


def deploy(do='create', **kw): return run_deploy('endpoint', do, **{**dict(image=IMAGE, yes=True), **kw})


def test_from_beginning_to_end(google, capsys):
    made = deploy(gpu='L4')
    out = capsys.readouterr().out
    assert out.index('g2-standard-8 NVIDIA_L4, about $0.98 an hour') < out.index(made['address'])
    assert made['address'] == f'{google.url}/v1/{PLACE}/endpoints/sciencetutor:predict'
    spec = fields(google.models['sciencetutor'].container_spec)
    assert {k: spec[k] for k in ('imageUri', 'predictRoute', 'healthRoute', 'env', 'ports')} == dict(
        imageUri=IMAGE, predictRoute='/predict', healthRoute='/health', env=[dict(name='MODEL', value='tutor')],
        ports=[dict(containerPort=8080)])
    (deployed,) = google.endpoints['sciencetutor'].deployed_models
    assert fields(deployed, 'id') == dict(
        model=f'{PLACE}/models/sciencetutor@1', modelVersionId='1', displayName='sciencetutor',
        serviceAccount=MINE['GCS_SERVICE_ACCOUNT'], dedicatedResources=dict(minReplicaCount=1, maxReplicaCount=1,
            machineSpec=dict(machineType='g2-standard-8', acceleratorType='NVIDIA_L4', acceleratorCount=1)))
    assert [r[:3] for r in run_status()] == [('endpoint', 'sciencetutor', 'deployed')]
    deploy(gpu='L4')
    assert 'is there already' in capsys.readouterr().out and len(google.endpoints['sciencetutor'].deployed_models) == 1
    deploy(gpu='T4')  # another machine takes the place of the first
    (deployed,) = google.endpoints['sciencetutor'].deployed_models
    assert deployed.dedicated_resources.machine_spec.machine_type == 'n1-highmem-2'
    deploy(image=IMAGE+'1')  # another image: a version of the model, which takes the place of the first
    (deployed,) = google.endpoints['sciencetutor'].deployed_models
    assert deployed.model_version_id == '2' and google.models['sciencetutor'].container_spec.image_uri == IMAGE+'1'
    deploy('delete')
    assert not google.models and not google.endpoints
    deploy('delete')  # what is gone is no error


@pytest.mark.parametrize('gpu,spec', [
    ('T4', dict(machineType='n1-highmem-2', acceleratorType='NVIDIA_TESLA_T4', acceleratorCount=1)),
    ('none', dict(machineType='n1-highmem-2'))])
def test_the_type_carries_the_gpu(google, gpu, spec):
    deploy(gpu=gpu, spot=True)
    (deployed,) = google.endpoints['sciencetutor'].deployed_models
    wanted = dict(machineSpec=spec, minReplicaCount=1, maxReplicaCount=1, spot=True)
    assert fields(deployed.dedicated_resources) == wanted


def test_what_fails_is_said_and_gone_on_with(google):
    google.serving_errors = ['Machine type temporarily unavailable']
    with pytest.raises(CliError, match='temporarily unavailable; try another GCP_REGION'): deploy()
    assert not google.endpoints['sciencetutor'].deployed_models
    deploy()
    assert len(google.endpoints['sciencetutor'].deployed_models) == 1
    assert google.models['sciencetutor'].version_id == '1'


def test_nothing_is_spent_without_a_yes(google, monkeypatch):
    monkeypatch.setattr('builtins.input', lambda *_: 'n')
    with pytest.raises(CliError, match='nothing was started'): deploy(yes=False)
    assert not google.calls


@pytest.mark.parametrize('given,says', [
    (dict(do='stop'), 'an endpoint has no stop'), (dict(allow=['0.0.0.0/0']), 'Google asks who comes'),
    (dict(auth=True), 'Google asks who comes'), (dict(image='a b'), 'image'), (dict(model='a b'), 'no name of')])
def test_what_an_endpoint_has_not(google, given, says):
    with pytest.raises(CliError, match=says): deploy(**given)
    with pytest.raises(CliError, match='--gpu L4 is for an endpoint'): run_deploy('vm', gpu='L4', allow=['0.0.0.0/0'])
    assert not google.calls


def test_the_address_asks_the_container(google):
    "What curl would send, the emulator in the middle, the tutor's server behind it, and Google's own message back."
    from google.cloud.aiplatform_v1 import PredictResponse
    from sciencetutor.serve.core import Reach, Server, open_port
    from sciencetutor.serve.vertex import VertexPaths
    from test_page import Script
    address, reach = deploy()['address'], Reach(vertex=VertexPaths('/predict', '/health'))
    with Server(Script(), open_port('127.0.0.1', 0), reach=reach) as server:
        google.container = server.url
        asked = dict(instances=[dict(question='Which is solid?', choices=['milk', 'a rock'])])
        answer = PredictResponse.from_json(requests.post(address, json=asked, timeout=60).text)
    (said,) = answer.predictions
    assert said['choice'] == 'a rock' and said['explanation']
