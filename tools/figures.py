"Draw the figures as SVG: `python tools/figures.py` writes pipeline.svg, cloud.svg and packages.svg to nbs/images."
from html import escape

from docs import nbs, write

style = '''
  text { font: 13px system-ui, sans-serif; fill: #1f2933; text-anchor: middle }
  .title { font-weight: 600; font-size: 14.5px } .small { font-size: 12px; fill: #52606d }
  .code { font-family: ui-monospace, monospace; font-size: 12px }
  rect { fill: #fff; stroke: #9fb3c8; stroke-width: 1.2 } .stage { fill: #e3f0fd; stroke: #2780e3 }
  .store { fill: #fdf6e3; stroke: #d9a93b }
  path { fill: none; stroke: #627d98; stroke-width: 1.4; marker-end: url(#tip) }
  marker path { fill: #627d98; stroke: none }
  .paper { fill: #fff; stroke: none }
'''


def box(x, y, w, h, title, *lines, kind=''):
    "A rounded box around (x, y), its centre: a title over small lines; a line in backticks is code."
    top = y + 5 - 9*len(lines) - (0 if title else 9)
    rows = [f'<text class="title" x="{x}" y="{top}">{escape(title)}</text>'] if title else []
    for i, line in enumerate(lines, 1):
        css = 'code' if line.startswith('`') else 'small'
        rows.append(f'<text class="{css}" x="{x}" y="{top + 18*i}">{escape(line.strip("`"))}</text>')
    return f'<rect class="{kind}" x="{x - w/2}" y="{y - h/2}" width="{w}" height="{h}" rx="8"/>' + ''.join(rows)


def arrow(*points, label='', dy=-7):
    "A line through `points` with a tip at the end; the label stands over its first piece."
    d = 'M' + ' L'.join(f'{x} {y}' for x, y in points)
    if not label: return f'<path d="{d}"/>'
    (x1, y1), (x2, y2) = points[:2]
    return f'<path d="{d}"/><text class="small" x="{(x1 + x2)/2}" y="{(y1 + y2)/2 + dy}">{escape(label)}</text>'


def svg(width, height, title, *parts):
    "The picture, on a sheet of its own so that it reads on dark pages too."
    size = f'width="{width}" height="{height}"'
    tip = ('<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
           '<path d="M0 0 8 4 0 8z"/></marker>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {width} {height}" role="img">'
    return '\n'.join([f'{head}<title>{escape(title)}</title>', f'<style>{style}</style><defs>{tip}</defs>',
                      f'<rect class="paper" {size} rx="8"/>', *parts, '</svg>\n'])


def pipeline():
    "Four stages that speak through folders only."
    y1, y2 = 85, 245
    sources = (35, 'ScienceQA: folder or hub'), (85, "a teacher's own questions"), (135, 'our own samples')
    return svg(960, 300, 'Questions become a data set, a checkpoint, a score and a page',
        *(box(110, y, 190, 40, '', line) for y, line in sources),
        *(arrow((206, y), (222, y), (244, y1 + (y - y1)/4)) for y, line in sources),
        box(305, y1, 120, 60, 'data', '`00_data`', kind='stage'),
        arrow((366, y1), (437, y1)),
        box(500, y1, 124, 60, 'data set', '`train val test`', kind='store'),
        arrow((563, y1), (632, y1)),
        box(692, y1, 120, 60, 'train', '`20_train`', kind='stage'),
        arrow((752, y1), (797, y1)),
        box(862, y1, 128, 60, 'checkpoint', '`safetensors`', kind='store'),
        box(692, 160, 176, 40, '', 'tutor-base or a hub model'), arrow((692, 139), (692, 117)),
        arrow((862, 116), (862, y2 - 32)),
        box(862, y2, 120, 60, 'serve', '`40_serve`', kind='stage'),
        arrow((830, 116), (830, 195), (500, 195), (500, y2 - 32)),
        arrow((470, 116), (470, y2 - 32)),
        box(485, y2, 120, 60, 'eval', '`30_eval`', kind='stage'),
        arrow((424, y2), (366, y2)),
        box(300, y2, 130, 60, 'report', '`metrics.json`', kind='store'),
        arrow((801, y2), (773, y2)),
        box(692, y2, 160, 60, 'the page', 'where a child can ask'))


def cloud():
    "The same notebooks, run by papermill wherever there is a GPU."
    return svg(960, 380, 'The notebooks run headless on Colab, on Vertex AI and on a machine of your own',
        box(110, 75, 170, 64, 'notebooks', '`nbs/*.ipynb`', kind='stage'),
        box(110, 185, 170, 64, 'parameters', '`configs/*.yaml`', kind='stage'),
        arrow((196, 75), (240, 75), (269, 118)), arrow((196, 185), (240, 185), (269, 142)),
        box(330, 130, 120, 64, 'papermill', 'headless'),
        arrow((391, 130), (468, 130)),
        *(arrow((391, 130), (430, 130), (430, y), (468, y)) for y in (50, 210)),
        box(580, 50, 220, 56, 'Colab', 'a badge on every notebook'),
        box(580, 130, 220, 56, 'Vertex AI job', 'one stage, any machine type'),
        box(580, 210, 220, 62, 'Vertex AI pipeline', 'data → train → eval → upload'),
        arrow((691, 130), (778, 130)),
        *(arrow((691, y), (740, y), (740, end), (778, end)) for y, end in ((50, 110), (210, 150))),
        box(860, 130, 160, 96, 'bucket and hub', 'data sets, checkpoints,', 'metrics, notebooks', 'as they ran',
            kind='store'),
        arrow((860, 179), (860, 288)),
        box(860, 320, 160, 62, 'container', '`Dockerfile`', kind='stage'),
        arrow((779, 320), (706, 320)),
        box(580, 320, 250, 62, 'GPU machine or Kubernetes', 'page and APIs'),
        arrow((454, 320), (402, 320)),
        box(300, 320, 200, 62, 'a class of children', 'with a browser'))


def packages():
    "The packages from below: each imports only what stands lower."
    rows = [  # from above
        [('cloud', 'jobs, pipelines, machines'), ('release', 'the tutor that ships')],
        [('serve', 'HTTP and websockets, limits')],
        [('app', 'page, lessons, safety, store')],
        [('train', 'fine-tuning'), ('eval', 'metrics and report')],
        [('engine', 'batching, KV and prefix cache')],
        [('models', 'loading, scoring, KNN index')],
        [('data', 'questions to a data set')],
        [('samples', 'questions of our own')],
        [('files, resources', 'safe writing, what is shipped')],
    ]
    width, height, step = 560, 700, 76
    centres = {1: [280], 2: [152.5, 407.5]}
    parts = []
    for i, row in enumerate(rows):
        y, last = 46 + step*i, i == len(rows) - 1
        for x, (name, what) in zip(centres[len(row)], row):
            parts.append(box(x, y, 490 if len(row) == 1 else 235, 48, name, what, kind='store' if last else 'stage'))
        if last: break
        arrows = max(len(row), len(rows[i + 1]))
        parts += [arrow((x, y + 25), (x, y + step - 26)) for x in centres[arrows]]
    return svg(width, height, 'The packages in their order: each imports only what stands below it', *parts)


def draw():
    "Write all of them."
    for figure in (pipeline, cloud, packages): write(nbs / f'images/{figure.__name__}.svg', figure())


if __name__ == '__main__': draw()
