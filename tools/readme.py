"Write README.md from nbs/index.ipynb: `python tools/readme.py`."
import json, re
from docs import nbs, page_name, root, settings, write


def output_text(out: dict) -> str:
    "One output of a cell as Markdown."
    data = out.get('data', {'text/plain': out.get('text', '')})
    for mime, wrap in ('text/markdown', '{}'), ('text/html', '{}'), ('text/plain', '```text\n{}\n```'):
        if mime in data: return wrap.format(''.join(data[mime]).rstrip())
    advice = 'save it under nbs/images and link to it'
    raise ValueError(f'index.ipynb: an output of type {list(data)} has no place in the README: {advice}')


def cell_text(cell: dict) -> str:
    "One cell of the notebook as Markdown, with nbdev's and Quarto's directives obeyed."
    source = ''.join(cell['source'])
    if cell['cell_type'] != 'code': return source
    directives, code = re.match(r'((?:#\|.*\n?)*)(.*)', source, re.S).groups()
    if re.search(r'hide\b|include: false', directives): return ''
    parts = [] if re.search(r'echo: false', directives) else [f'```python\n{code.strip()}\n```']
    return '\n\n'.join(parts + [output_text(o) for o in cell['outputs']])


def badges() -> str:
    "Three badges under the title."
    cfg = settings()
    shield, name = 'https://img.shields.io/badge', cfg['license'].replace('-', '--')
    licence = f'{cfg["git_url"]}/blob/{cfg["branch"]}/LICENSE'
    return '\n'.join([f'[![docs]({shield}/docs-pages-2780e3)]({cfg["doc_url"]})',
                      f'[![licence]({shield}/licence-{name}-2780e3)]({licence})',
                      f'![python]({shield}/python-{cfg["min_python"]}+-2780e3)'])


def write_readme():
    "The README: paths from the repository's root, links to pages of the docs."
    cells = json.loads((nbs / 'index.ipynb').read_text(encoding='utf-8'))['cells']
    text = '\n\n'.join(filter(None, map(cell_text, cells)))
    text = re.sub(r'^(# .*)\n+> (.*)', lambda m: f'{m[1]}\n\n{m[2]}\n\n{badges()}', text)
    text = re.sub(r'(?<=[("])images/', 'nbs/images/', text)
    link = lambda m: settings()['doc_url'] + page_name(m[0]).replace('.ipynb', '.html')
    text = re.sub(r'(?<=\()[\w/]*\d\d_\w+\.ipynb', link, text)
    write(root / 'README.md', f'<!-- Written from nbs/index.ipynb by tools/readme.py: edit there. -->\n\n{text}\n')


if __name__ == '__main__': write_readme()
