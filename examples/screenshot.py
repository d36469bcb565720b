"""Take the README's picture of a running page.

    sciencetutor serve --model checkpoints/tutor &
    python examples/screenshot.py http://127.0.0.1:7860 nbs/images/page.png \
        [--question "..."] [--example 0] [--quiz] [--dark] [--phone] [--height 860]

Needs the package playwright and a Chromium on the path.
"""
import argparse, io, shutil
from PIL import Image
from playwright.sync_api import sync_playwright

parser = argparse.ArgumentParser(description='Take a picture of a running page.')
parser.add_argument('url')
parser.add_argument('out')
parser.add_argument('--question', help='ask this; otherwise an example is picked')
parser.add_argument('--example', type=int, default=0, help='which example to pick')
parser.add_argument('--quiz', action='store_true', help='answer the first question of a quiz instead')
parser.add_argument('--height', type=int, default=860, help='of the picture, in pixels')
parser.add_argument('--dark', action='store_true')
parser.add_argument('--phone', action='store_true')
args = parser.parse_args()

path = next(p for n in ('chromium', 'chromium-browser', 'google-chrome') if (p := shutil.which(n)))
with sync_playwright() as p:
    browser = p.chromium.launch(executable_path=path, args=['--no-sandbox'])
    size = dict(width=390 if args.phone else 980, height=args.height)
    page = browser.new_context(viewport=size, color_scheme='dark' if args.dark else 'light').new_page()
    page.goto(args.url)
    page.wait_for_selector('#chat .example')
    if args.quiz:
        page.locator('#mode label').last.click()
        page.click('#quiz-start')
        page.locator('#quiz-choices label').first.click()
        page.click('#quiz-check')
        page.wait_for_selector('#quiz-feedback .st-known')
    else:
        if args.question:
            page.fill('#box textarea', args.question)
            page.press('#box textarea', 'Enter')
        else: page.locator('#chat .example').nth(args.example).click()
        page.wait_for_selector('#box .stop-button')
        page.wait_for_selector('#box .submit-button', timeout=120_000)
        page.wait_for_timeout(800)
        page.locator('#chat .bubble-wrap').evaluate('e => e.scrollTop = 0')
    page.wait_for_timeout(300)
    picture = Image.open(io.BytesIO(page.screenshot())).convert('RGB')
    browser.close()
picture.quantize(256).save(args.out, optimize=True)
