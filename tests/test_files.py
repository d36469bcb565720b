"What is kept in the cache: whole or made anew."
import numpy as np
import pytest

from sciencetutor.files import cache_path, cached_arrays


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    calls = []
    def get(key='k'):
        def make(): return calls.append(key) or dict(a=np.arange(1000), none=np.zeros((0, 3), np.float32))
        found = cached_arrays('kind', key, make)
        assert found['a'].tolist() == list(range(1000)) and found['none'].shape == (0, 3)
        return calls
    return get


@pytest.mark.parametrize('damage', [lambda b: b[:-1], lambda b: b'', lambda b: b'x'*100,
                                    lambda b: b[:500]+b'?'+b[501:]])
def test_a_damaged_file_is_made_anew(made, damage):
    assert len(made()) == 1 and len(made()) == 1
    path = cache_path('kind', 'k.arrays')
    path.write_bytes(damage(path.read_bytes()))
    assert len(made()) == 2 and len(made()) == 2


def test_the_latest_few_are_left(made):
    for key in 'abcdef': made(key)
    assert len(list(cache_path('kind').iterdir())) == 4 and len(made('f')) == 6


def test_a_cache_that_cannot_be_written_is_no_need(made):
    cache_path('kind', 'k.arrays').mkdir(parents=True)
    assert len(made()) == 1 and len(made()) == 2
