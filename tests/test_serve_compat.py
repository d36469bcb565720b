"What the server needs of Gradio beyond its public interface: a version without it is refused, by its name."
import gradio, pytest
import gradio.processing_utils as processing
from fastcore.script import CliError
from sciencetutor.serve import compat
from sciencetutor.serve.core import make_app
from test_page import Script

NEEDED = ['has_launched', '_queue', 'state_session_capacity']

def test_this_version_has_it_all():
    "Fails with the name of what a newer Gradio has moved."
    app = make_app(Script()).state.gradio
    blocks = app.get_blocks()
    compat.check_app(app)
    compat.require(blocks, *NEEDED)
    assert processing.async_ssrf_protected_download is compat.refuse_download
    assert blocks.has_launched is True and blocks._queue.sleep_when_free == .02 and blocks.state_session_capacity == 500

def test_without_downloads(monkeypatch):
    monkeypatch.delattr(processing, 'async_ssrf_protected_download')
    with pytest.raises(CliError, match='async_ssrf_protected_download'): make_app(Script())

@pytest.mark.parametrize('change',
                         [compat.enable_path_checks, compat.slow_polling, lambda b: compat.limit_sessions(b, 5)])
def test_without_an_attribute_of_blocks(change):
    with pytest.raises(CliError, match='|'.join(NEEDED)): change(object())

@pytest.mark.parametrize('name', ['sleep_when_free', 'progress_update_sleep_when_free'])
def test_without_an_attribute_of_the_queue(name):
    with gradio.Blocks() as blocks: gradio.Textbox()
    queue = blocks.queue()._queue
    delattr(queue, name)
    with pytest.raises(CliError, match=name): compat.slow_polling(blocks)

def test_without_logins():
    with pytest.raises(CliError, match='auth'): compat.check_app(object())

@pytest.mark.parametrize('version', ['5.49.1', '7.0.0'])
def test_another_version(monkeypatch, version):
    monkeypatch.setattr(gradio, '__version__', version)
    with pytest.raises(CliError, match=version): make_app(Script())
