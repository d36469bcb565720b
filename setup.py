"Package metadata comes from settings.ini; pyproject.toml holds the rest."
import shutil
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup
from setuptools.command.build_py import build_py

cfg = ConfigParser(delimiters=['='])
cfg.read('settings.ini', encoding='utf-8')
cfg = cfg['DEFAULT']

extras = {k.removesuffix('_requirements'): v.split() for k, v in cfg.items() if k.endswith('_requirements')}
extras['all'] = sorted({o for v in extras.values() for o in v})


class Carry(build_py):
    "Put notebooks, recipes, pipelines and tested versions into the wheel, where `repo_root` finds them."

    def run(self):
        super().run()
        if self.editable_mode: return  # the clone itself is used
        carried = [*Path('nbs').glob('*.ipynb'), *Path('configs').glob('*.yaml'), *Path('pipelines').glob('*.yaml')]
        if len({p.parent for p in carried}) < 3: raise SystemExit('setup.py: nbs/, configs/ or pipelines/ is missing')
        for path in [*carried, Path('constraints.txt')]:
            to = Path(self.build_lib)/'sciencetutor/assets'/path
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)


setup(version=cfg['version'], install_requires=cfg['requirements'].split(), extras_require=extras,
      cmdclass=dict(build_py=Carry),
      entry_points={'console_scripts': cfg['console_scripts'].split(),
                    'nbdev': ['sciencetutor=sciencetutor._modidx:d']})
