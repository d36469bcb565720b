"""Build docs/ and README.md from the notebooks: `python tools/docs.py`.

The sources are an nbdev site: with Quarto installed, `quarto render nbs` builds them too. Here smalldocs does it, in
pure Python. Links, title and description have one home, settings.ini; pyproject.toml and nbs/nbdev.yml repeat them
because nbdev and Quarto look there.
"""
import json, re, shutil
from configparser import ConfigParser
from pathlib import Path

root = Path(__file__).resolve().parent.parent
nbs, docs = root / 'nbs', root / 'docs'

# A section of the sidebar: its title, the notebooks that open it, and the folder of the notebooks that follow.
sections = [
    ('Data', ['00_data'], 'data'),
    ('Samples', [], 'samples'),
    ('Model', ['10_model'], 'models'),
    ('Engine', [], 'engine'),
    ('Training', ['20_train'], 'train'),
    ('Evaluation', ['30_eval'], 'eval'),
    ('The tutor', [], 'app'),
    ('Serving', ['40_serve'], 'serve'),
    ('Cloud', ['50_cloud'], 'cloud'),
    ('In one command', ['60_cli', '61_quickstart', '62_release'], ''),
    ('Foundations', ['01_files', '02_resources'], ''),
]


def settings() -> dict:
    "What settings.ini says."
    cfg = ConfigParser(delimiters=['='])
    cfg.read(root / 'settings.ini', encoding='utf-8')
    return dict(cfg['DEFAULT'])


def write(path: Path, text: str):
    "Write `text` unless the file holds it already."
    if not path.exists() or path.read_text(encoding='utf-8') != text: path.write_text(text, encoding='utf-8')


def sync_metadata():
    "Repeat the metadata of settings.ini in pyproject.toml, nbdev.yml and the package's version."
    cfg = settings()
    values = dict(description=cfg['description'], Repository=cfg['git_url'], Documentation=cfg['doc_url'])
    text = (root / 'pyproject.toml').read_text(encoding='utf-8')
    for key, value in values.items(): text = re.sub(rf'^{key} = ".*"$', f'{key} = "{value}"', text, flags=re.M)
    write(root / 'pyproject.toml', text)
    init = root / 'sciencetutor/__init__.py'
    place = root / 'deploy/kustomization.yaml'
    image = f'newName: ghcr.io/{cfg["user"]}/{cfg["repo"]}'
    write(place, re.sub(r'newName: ghcr.io/.*', image, place.read_text(encoding='utf-8')))
    version = f'__version__ = "{cfg["version"]}"'
    write(init, re.sub(r'^__version__ = ".*"', version, init.read_text(encoding='utf-8'), flags=re.M))
    from nbdev.quarto import refresh_quarto_yml
    refresh_quarto_yml()


def page_name(name: str) -> str:
    "`data/01_formats.ipynb` is the page `data/formats`, as in nbdev's own links."
    return re.sub(r'(^|/)\d\d_', r'\1', name)


def notebooks(folder: Path = nbs) -> list[str]:
    "All notebooks with a number, by their path below `folder`."
    paths = [p for p in folder.rglob('[0-9]*.ipynb') if '.ipynb_checkpoints' not in p.parts]
    return sorted(p.relative_to(folder).as_posix() for p in paths)


def write_sidebar():
    "Group the notebooks by stage: its front page, then its parts in reading order."
    lines, names = ['website:', '  sidebar:', '    contents:', '      - index.ipynb'], notebooks()
    for title, fronts, folder in sections:
        pages = [f'{front}.ipynb' for front in fronts] + [n for n in names if folder and n.startswith(f'{folder}/')]
        lines += [f'      - section: {title}', '        contents:', *(f'          - {page}' for page in pages)]
    listed = {line.strip(' -') for line in lines}
    left = ', '.join(n for n in names if n not in listed)
    if left: raise SystemExit(f'docs: {left} is in no section of the sidebar: add it to `sections`')
    write(nbs / 'sidebar.yml', '\n'.join(lines) + '\n')


COLAB = """#| hide
import os, sys
if 'google.colab' in sys.modules:
    REPO, TAG = '{git_url}', 'v{version}'
    clone = f'git clone -q --depth 1 {{REPO}} /content/clone'
    get_ipython().system(f'test -d /content/clone || {{clone}} -b {{TAG}} || {{clone}}')  # or the newest state
    if not os.path.isdir('/content/clone'): raise SystemExit(f'{{REPO}} cannot be cloned: is it your REPO?')
    os.chdir('/content/clone')  # nbs/ and configs/ are here
    get_ipython().system('python tools/colab.py')"""


def colab_cell() -> dict:
    "The first code cell of every notebook: on Colab it installs the release, anywhere else it does nothing."
    source = COLAB.format(**settings()).splitlines(True)
    return dict(cell_type='code', id='colab-install', execution_count=None, metadata={}, outputs=[], source=source)


def write_colab_cells():
    "Put that cell under the title of every notebook."
    for path in [nbs / name for name in ['index.ipynb', *notebooks()]]:
        nb = json.loads(path.read_text(encoding='utf-8'))
        rest = [c for c in nb['cells'] if 'google.colab' not in ''.join(c['source'])]
        nb['cells'] = [rest[0], colab_cell(), *rest[1:]]
        write(path, json.dumps(nb, sort_keys=True, indent=1, ensure_ascii=False) + '\n')  # as nbdev-clean writes it


def add_badge(page: Path, name: str):
    "Under the title of a processed notebook, a badge that opens the notebook in Colab."
    cfg, nb = settings(), json.loads(page.read_text(encoding='utf-8'))
    link = f'https://colab.research.google.com/github/{cfg["user"]}/{cfg["repo"]}/blob/{cfg["branch"]}/nbs/{name}'
    badge = f'[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({link})'
    nb['cells'].insert(1, dict(cell_type='markdown', id='colab-badge', metadata={}, source=[badge]))
    page.write_text(json.dumps(nb), encoding='utf-8')


def build_site():
    "Render the processed notebooks into docs/."
    from nbdev.serve import proc_nbs
    from smalldocs.site import build
    proc = proc_nbs(nbs, n_workers=2, force=True)
    shutil.copytree(nbs / 'images', proc / 'images', dirs_exist_ok=True)
    names = notebooks(proc)
    for p in [*proc.rglob('*.ipynb'), proc / 'sidebar.yml']:  # the links are to the notebooks themselves
        p.write_text(re.sub(r'\b\d\d_(\w+\.ipynb)', r'\1', p.read_text(encoding='utf-8')), encoding='utf-8')
    for name in names: (proc / name).rename(proc / page_name(name))
    for name in names: add_badge(proc / page_name(name), name)
    site = build(proc, quiet=True)
    known = 'format-links', 'output-file'  # of nbdev, for Quarto
    for line in site.warnings:
        if not any(k in line for k in known): print('docs:', line)
    broken = [f'docs: {page} links to {link}, which is not there' for page, link in site.broken]
    if broken: raise SystemExit('\n'.join(broken))
    trim(site.out)
    shutil.rmtree(docs, ignore_errors=True)
    site.out.rename(docs)
    shutil.rmtree(proc)


def trim(out: Path):
    "Leave out what no page needs or what changes with the clock: the site is committed."
    for font in out.rglob('*.woff'): font.unlink()  # every browser since 2016 reads the .woff2 beside it
    sitemap = out / 'sitemap.xml'
    sitemap.write_text(re.sub(r'\s*<lastmod>.*?</lastmod>', '', sitemap.read_text()))
    (out / '.nojekyll').touch()


PLACEHOLDER = 'https://github.com/sciencetutor/sciencetutor'


def check_repo(url: str) -> str:
    "What is to be said of REPO, which is user and repo of settings.ini."
    if url.rstrip('/') != PLACEHOLDER: return ''
    return f'docs: {url} is still the placeholder: set user and repo in settings.ini, and badges and Colab follow'


def main():
    if said := check_repo(settings()['git_url']): print(said)
    from figures import draw
    from readme import write_readme
    sync_metadata()
    write_colab_cells()
    draw()
    write_sidebar()
    build_site()
    write_readme()


if __name__ == '__main__': main()
