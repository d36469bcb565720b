"Hostile and odd pictures: an upright RGB picture, or one line; and memory stays bounded."
import base64, io, struct, subprocess, sys, zlib
import pytest
from hypothesis import given, settings, strategies as st
from fastcore.script import CliError
from PIL import Image
from sciencetutor.data.core import load_split, run_data
from sciencetutor.data.images import FORMATS, BadImage, check_image, data_uri, open_image, open_upload


def encoded(im, format='PNG', **kw):
    im.save(out := io.BytesIO(), format, **kw)
    return out.getvalue()


RED = Image.linear_gradient('L').resize((90, 60)).convert('RGB')


def bomb(w, h):
    "A small, entirely valid PNG of w x h pixels."
    chunk = lambda k, d: struct.pack('>I', len(d)) + k + d + struct.pack('>I', zlib.crc32(k + d))
    z = zlib.compressobj()
    rows = b''.join(z.compress(bytes(1 + w // 8)) for _ in range(h)) + z.flush()
    head = chunk(b'IHDR', struct.pack('>IIBBBBB', w, h, 1, 0, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n' + head + chunk(b'IDAT', rows) + chunk(b'IEND', b'')


@pytest.mark.parametrize('data, why', ids=range(11), argvalues=[
    (b'', 'empty'), (b'<svg/>', 'not a picture'), (b'%PDF-1.4', 'not a picture'),
    (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 'not a picture'),
    (encoded(RED)[:40], 'picture'), (encoded(RED)[:150], 'picture'), (encoded(RED, 'JPEG')[:-200], 'picture'),
    (encoded(RED, 'GIF')[:-200], 'picture'), (encoded(RED, 'WEBP')[:-50], 'picture'),
    (encoded(RED, 'BMP')[:200], 'picture'), (bomb(30000, 30000), '30000 x 30000')])
def test_refused_in_one_line(data, why):
    for f in (open_image, check_image):
        with pytest.raises(BadImage, match=why) as e: f(data)
        assert '\n' not in str(e.value)


@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK', 'I;16', 'YCbCr'])
@pytest.mark.parametrize('format', ['PNG', 'JPEG', 'TIFF', 'WEBP', 'GIF', 'BMP'])
def test_every_mode_comes_out_as_rgb(mode, format):
    if (mode, format) == ('YCbCr', 'TIFF'): pytest.skip('Pillow cannot read back what it writes')
    im = RED.resize((20, 10))
    if mode in ('LA', 'RGBA'): im = im.convert('RGBA')
    im = Image.new('I;16', (20, 10), 30000) if mode == 'I;16' else im.convert(mode)
    try: data = encoded(im, format)
    except (OSError, ValueError): pytest.skip(f'{format} has no {mode}')
    out = open_image(data)
    assert out.mode == 'RGB' and out.size == (20, 10) and check_image(data)[0][:3] == (format, 20, 10)


@pytest.mark.parametrize('orientation, size', [(1, (90, 60)), (3, (90, 60)), (6, (60, 90)), (8, (60, 90))])
def test_rotation(orientation, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(RED, 'JPEG', exif=exif)
    assert open_image(data).size == size and ('rotated' in check_image(data)[0].odd) == (orientation > 1)


def test_odd_ones_are_named():
    frames = [RED, RED.rotate(9), RED.rotate(20)]
    for format in ('GIF', 'PNG', 'WEBP'):
        data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
        assert 'animated' in check_image(data)[0].odd and open_image(data).size == (90, 60)
    assert check_image(encoded(RED.convert('CMYK'), 'JPEG'))[0].odd == 'cmyk'
    assert check_image(encoded(Image.new('I;16', (9, 9), 5)))[0].odd == '16-bit'


def test_sixteen_bits_keep_their_greys():
    im = Image.new('I;16', (3, 1))
    for x, v in enumerate((0, 32768, 65535)): im.putpixel((x, 0), v)
    assert [open_image(encoded(im)).getpixel((x, 0))[0] for x in range(3)] == [0, 127, 255]


def test_smaller():
    out = open_image(encoded(RED), max_side=30)
    assert out.size == (30, 20) and open_image(encoded(RED), max_side=300).size == (90, 60)


def test_later_frames_are_not_looked_at():
    RED.save(b := io.BytesIO(), 'TIFF', save_all=True, append_images=[RED])
    data = bytearray(b.getvalue())
    second = Image.open(b).tag_v2.next
    data[second + 2:second + 26] = bytes(24)  # its first two tags, width and height
    assert 'animated' in check_image(bytes(data))[0].odd and open_image(bytes(data)).size == (90, 60)


def many_frames(format, n=100_000):
    "A valid file of a few megabytes with so many frames."
    dot = Image.new('L', (1, 1))
    if format == 'GIF':
        dot.save(b := io.BytesIO(), 'GIF', save_all=True, append_images=[Image.new('L', (1, 1), 255)])
        data = b.getvalue()
        at = data.index(b'\x21\xf9', 14)
        return data[:at] + data[at:-1] * (n//2) + b';'
    entries = [(256, 4, 1), (257, 4, 1), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (279, 4, 1)]
    tags = b''.join(struct.pack('<HHIHxx' if kind == 3 else '<HHII', tag, kind, 1, v) for tag, kind, v in entries)
    size = 6 + len(tags)
    ends = [12 + size*(i+1) for i in range(n-1)] + [0]
    head = b'II*\0' + struct.pack('<I', 12) + bytes(4)
    return head + b''.join(struct.pack('<H', len(entries)) + tags + struct.pack('<I', end) for end in ends)


@pytest.mark.parametrize('format', ['GIF', 'TIFF'])
def test_frames_are_not_counted(format, monkeypatch):
    data, looked = many_frames(format), []
    plugin = Image.open(io.BytesIO(data)).__class__
    seek = plugin._seek
    monkeypatch.setattr(plugin, '_seek', lambda self, *args: (looked.append(args), seek(self, *args))[1])
    assert check_image(data)[0].odd == 'animated' and open_upload(data, 1024).size == (1, 1) and len(looked) < 30


def test_avif_reads_where_pillow_does():
    if 'AVIF' not in FORMATS: pytest.skip('this Pillow has no AVIF')
    out = open_image(encoded(RED, 'AVIF', quality=90))
    assert out.size == (90, 60) and abs(out.getpixel((45, 30))[0] - RED.getpixel((45, 30))[0]) < 20


def test_smaller_first_looks_the_same():
    "Averaging before the colours change gives what averaging after it gave."
    clear = RED.resize((200, 100)).convert('RGBA')
    clear.putalpha(Image.linear_gradient('L').resize((200, 100)))
    after = open_image(encoded(clear))
    after.thumbnail((50, 50), Image.Resampling.BICUBIC)
    before = open_image(encoded(clear), max_side=50)
    assert before.size == after.size == (50, 25)
    assert max(abs(a-b) for one, two in zip(before.getdata(), after.getdata()) for a, b in zip(one, two)) <= 3


@pytest.mark.parametrize('body', ['aGk=', ' a G\nk\t=\r\n', 'aGk'])
def test_base64_with_blanks(body):
    uri = f'data:image/png;base64,{body}'
    if body != 'aGk': assert data_uri(uri) == b'hi'
    else:
        with pytest.raises(BadImage, match='base64'): data_uri(uri)


SEVEN = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from sciencetutor.data.images import BadImage, open_upload
data = open(sys.argv[1], 'rb').read()
def open_one(_):
    try: return open_upload(data, 1024).size
    except BadImage as e: return e
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with ThreadPoolExecutor(7) as pool: said = list(pool.map(open_one, range(7)))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, said[-1], sep=';')
"""


@pytest.mark.parametrize('mode, size, want, megabytes', [
    ('RGBA', (8000, 6000), '8000 x 6000 pixels', 20), ('RGBA', (4000, 4000), '(1024, 1024)', 400),
    ('P', (4000, 4000), '(1024, 1024)', 400)])
def test_seven_uploads_at_once(tmp_path, mode, size, want, megabytes):
    "50 megapixels in 194 KB are refused by their header; of sixteen, two pictures at a time are in memory."
    file = tmp_path/'a.png'
    Image.new(mode, size).save(file, **(dict(transparency=0) if mode == 'P' else {}))
    done = subprocess.run([sys.executable, '-c', SEVEN, file], capture_output=True, text=True)
    grown, said = done.stdout.strip().split(';')
    print(mode, size, file.stat().st_size, grown, 'MB', said)
    assert int(grown) < megabytes and want in said, done


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 400), junk=st.binary(min_size=1, max_size=8),
       format=st.sampled_from([f for f in FORMATS if f != 'HEIF']))
def test_damage_never_escapes(at, junk, format):
    data = bytearray(encoded(RED.resize((20, 10)), format))
    data[at:at + len(junk)] = junk
    for f in (open_image, check_image):
        try: f(bytes(data))
        except BadImage as e: assert '\n' not in str(e)


def test_memory_is_bounded():
    code = f'''
import resource, sys
sys.path.insert(0, {str(__file__.rsplit("/", 1)[0])!r})
from test_images import bomb, encoded
from sciencetutor.data.images import FORMATS, BadImage, check_image, open_image
data = bomb(30000, 30000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for f in (open_image, check_image):
    try: f(data)
    except BadImage: pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)'''
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert float(done.stdout) < 20, done.stderr


def wordy(kind=b'zTXt', size=2 << 20, at=33):
    "A PNG with a compressed text of `size` bytes, as programs that draw write their settings."
    data, body = encoded(RED), b'prompt\0\0' + zlib.compress(b'red ' * (size // 4))
    chunk = struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
    at = at if at > 0 else len(data) - 12
    return data[:at] + chunk + data[at:]


@pytest.mark.parametrize('data', ids=['text', 'text at the end', 'profile', 'tail', 'jpeg'], argvalues=[
    wordy(), wordy(at=-1), wordy(b'iCCP'), encoded(RED) + b'\0SEFT from a telephone',
    encoded(RED, 'JPEG') + bytes(5000)])
def test_a_picture_that_every_other_program_shows(data):
    """Text of more than a megabyte (python-pillow/Pillow#8363), a large colour profile (python-pillow/Pillow#2445),
    bytes after the end: used, and what is kept opens in Pillow as it comes."""
    h, kept = check_image(data)
    assert h.odd == '' and open_image(data).size == (90, 60)
    im = Image.open(io.BytesIO(kept))
    im.load()
    assert im.convert('RGB').getpixel((45, 59)) == open_image(data).getpixel((45, 59)) == Image.open(
        io.BytesIO(encoded(RED, h.format))).convert('RGB').getpixel((45, 59))


@pytest.mark.parametrize('format', ['PNG', 'WEBP', 'GIF', 'TIFF'])
def test_a_damaged_middle_is_refused_before_training(format):
    """Training stopped after hours on one picture (facebookresearch/detectron2#143, QwenLM/Qwen3-VL#1234): what is
    accepted decodes."""
    noise = Image.effect_noise((90, 90), 90).convert('RGB')
    kw = dict(compression='tiff_adobe_deflate') if format == 'TIFF' else dict(lossless=True) if format == 'WEBP' else {}
    data, half = bytearray(encoded(noise, format, **kw)), 0
    half = len(data) // 2
    data[half:half + 300] = bytes(300)
    try: _, kept = check_image(bytes(data))
    except BadImage as e: assert '\n' not in str(e)
    else: Image.open(io.BytesIO(kept)).load()
    if format in ('PNG', 'TIFF'):
        with pytest.raises(BadImage, match='broken picture'): check_image(bytes(data))


def test_avif_is_read_and_heic_is_named():
    "gradio-app/gradio#10381 and #7482."
    data = encoded(RED, 'AVIF', quality=100)
    assert check_image(data)[0] == ('AVIF', 90, 60, '') and check_image(data)[1] == data
    assert abs(open_image(data).getpixel((45, 59))[0] - RED.getpixel((45, 59))[0]) < 4
    with pytest.raises(BadImage, match='a HEIC photograph: save it as JPEG'):
        open_image(b'\0\0\0\x18ftypheic' + bytes(40))


HEIC = base64.b64decode(  # 64 x 64 pixels: the left half blue, the right half red
    'AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAVZtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9j'
    'AAAAAERAAAEAAQAAAAABegABAAAAAAAAACgAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA1mlw'
    'cnAAAAC3aXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQArQgEBA3AA'
    'AAMAkAAAAwAAAwAeoCCBBZbqSSmubgIaDAgAAAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAA'
    'AABAAAAAQAAAABBwaXhpAAAAAAMICAgAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAADBtZGF0AAAAJCgBr1j5DpJf//iAfI/Ken/0ZyJLe1qj'
    '/3GH1/Tt1EcSceafYA==')
needs_heic = pytest.mark.skipif('HEIF' not in FORMATS, reason='the package pi-heif is missing')

def says(width, height):
    "The HEIC, with another size in its header."
    return HEIC.replace(b'ispe'+bytes(4)+struct.pack('>II', 64, 64), b'ispe'+bytes(4)+struct.pack('>II', width, height))


@needs_heic
def test_a_photograph_of_a_telephone():
    picture = open_upload(HEIC, 32)
    assert picture.size == (32, 32) and picture.mode == 'RGB'
    assert picture.getpixel((4, 16))[2] > 150 and picture.getpixel((28, 16))[0] > 150
    found, kept = check_image(HEIC)
    assert found == ('HEIF', 64, 64, '') and Image.open(io.BytesIO(kept)).format == 'PNG'  # few programs read HEIC


@needs_heic
def test_a_hostile_heic_is_refused():
    for width, height in ((30_000, 30_000), (7000, 4000), (1 << 31, 1 << 31)):
        with pytest.raises(BadImage, match='pixels|unreadable|HEIC'): open_upload(says(width, height), 1024)
    for width, height in ((5712, 4284), (8, 8)):  # fewer or more pixels come than are named
        with pytest.raises(BadImage, match='broken picture'): open_upload(says(width, height), 1024)
    for n in range(0, len(HEIC)-1, 7):
        with pytest.raises(BadImage): open_upload(HEIC[:n], 1024)
    for n in range(30, len(HEIC), 11):
        try: open_upload(HEIC[:n]+bytes([HEIC[n] ^ 255])+HEIC[n+1:], 1024)
        except BadImage as e: assert '\n' not in str(e)


@pytest.mark.skipif('AVIF' not in FORMATS, reason='this Pillow has no AVIF')
def test_a_large_avif():
    data = encoded(RED.resize((64, 64)), 'AVIF')
    size = data.index(b'ispe')+8
    says = lambda width, height: data[:size]+struct.pack('>II', width, height)+data[size+8:]
    with pytest.raises(BadImage, match='6000 x 5000 pixels .at most 26,000,000'): open_upload(says(6000, 5000), 64)
    assert open_upload(says(5712, 4284), 64).size == (64, 48)  # as large as a telephone's


def test_what_is_accepted_can_be_trained_on(tmp_path):
    "The data stage took a PNG by its ends, and training stopped on it with a traceback and no pid."
    damaged = bytearray(encoded(Image.effect_noise((90, 90), 90)))
    damaged[900:1100] = bytes(200)
    for name, data in dict(text=wordy(), tail=encoded(RED) + b'tail', damaged=bytes(damaged)).items():
        (tmp_path/f'{name}.png').write_bytes(data)
    rows = [f'{name}?,a | b,A,{name}.png,{name}' for name in ('text', 'tail', 'damaged')]
    (tmp_path/'a.csv').write_text('\n'.join(['question,choices,answer,image,pid', *rows]))
    with pytest.raises(CliError, match='1 pictures are bad: damaged broken picture'):
        run_data(str(tmp_path/'a.csv'), str(tmp_path/'d'))
    run_data(str(tmp_path/'a.csv'), str(tmp_path/'d'), bad='skip')
    ds = load_split(tmp_path/'d', 'train')
    assert ds['pid'][:] == ['text', 'tail']
    assert [r['image'].getpixel((45, 59)) for r in ds] == [RED.getpixel((45, 59))] * 2


def test_training_sees_the_picture_that_the_server_sees(tmp_path):
    "Sixteen bits became white in training and grey in the server, and transparency black in the fingerprints."
    from sciencetutor.models.knn import fingerprint
    deep, clear = Image.new('I;16', (9, 9), 32768), Image.new('RGBA', (9, 9), (0, 0, 0, 0))
    for name, im in dict(deep=deep, clear=clear).items(): im.save(tmp_path/f'{name}.png')
    (tmp_path/'a.csv').write_text('question,choices,answer,image\nDeep?,a | b,A,deep.png\nClear?,a | b,A,clear.png\n')
    run_data(str(tmp_path/'a.csv'), str(tmp_path/'d'))
    trained = [r['image'] for r in load_split(tmp_path/'d', 'train')]
    grey = trained[0].convert('RGB').getpixel((0, 0))
    assert grey == open_image(tmp_path/'deep.png').getpixel((0, 0)) == (127, 127, 127)
    white = fingerprint(Image.new('RGB', (9, 9), 'white'))
    assert (fingerprint(trained[1]) == white).all() and (fingerprint(open_image(tmp_path/'clear.png')) == white).all()
