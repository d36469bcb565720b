"Package metadata comes from settings.ini; pyproject.toml holds the rest."
from configparser import ConfigParser
from setuptools import setup

cfg = ConfigParser(delimiters=['='])
cfg.read('settings.ini', encoding='utf-8')
cfg = cfg['DEFAULT']

extras = {k.removesuffix('_requirements'): v.split() for k, v in cfg.items() if k.endswith('_requirements')}
extras['all'] = sorted({o for v in extras.values() for o in v})

setup(version=cfg['version'], install_requires=cfg['requirements'].split(), extras_require=extras,
      entry_points={'console_scripts': cfg['console_scripts'].split(),
                    'nbdev': ['sciencetutor=sciencetutor._modidx:d']})
