"""Print an answer while it is written, through text-generation-webui's streaming API.

    sciencetutor serve &
    python examples/websocket_streaming.py
    python examples/websocket_streaming.py --prompt "What is this?" --image sky.png
    python examples/websocket_streaming.py --bare --prompt "Put an elephant in a fridge in three steps:"

Needs the package websockets.
"""
import argparse, asyncio, base64, json, sys
import websockets

parser = argparse.ArgumentParser(description='Print an answer while it is written.')
parser.add_argument('--url', default='ws://127.0.0.1:5005/api/v1/stream')
parser.add_argument('--prompt', default='Why is the sky blue?')
parser.add_argument('--image', help='a PNG file to ask about')
parser.add_argument('--max-new-tokens', type=int, default=200)
parser.add_argument('--bare', action='store_true', help='let the language model continue the prompt')

# all that clients of this API are used to send; only the prompt is required
PARAMS = dict(
    max_new_tokens=200, auto_max_new_tokens=False, max_tokens_second=0, preset='None', do_sample=True, temperature=0.7,
    top_p=0.1, typical_p=1, epsilon_cutoff=0, eta_cutoff=0, tfs=1, top_a=0, repetition_penalty=1.18,
    repetition_penalty_range=0, top_k=40, min_length=0, no_repeat_ngram_size=0, num_beams=1, penalty_alpha=0,
    length_penalty=1, early_stopping=False, mirostat_mode=0, mirostat_tau=5, mirostat_eta=0.1, grammar_string='',
    guidance_scale=1, negative_prompt='', seed=-1, add_bos_token=True, truncation_length=2048, ban_eos_token=False,
    custom_token_bans='', skip_special_tokens=True, stopping_strings=[])


async def pieces(url: str, request: dict):
    "The pieces of an answer."
    async with websockets.connect(url, ping_interval=None) as socket:
        await socket.send(json.dumps(request))
        while True:
            event = json.loads(await socket.recv())
            if event['event'] == 'text_stream': yield event['text']
            else: return


async def main():
    a = parser.parse_args()
    prompt = a.prompt
    if a.image:
        with open(a.image, 'rb') as f: picture = base64.b64encode(f.read()).decode()
        prompt = f'<img src="data:image/png;base64,{picture}">' + prompt
    print(a.prompt, end='' if a.bare else '\n')
    async for piece in pieces(a.url, {**PARAMS, 'prompt': prompt, 'bare': a.bare, 'max_new_tokens': a.max_new_tokens}):
        print(piece, end='')
        sys.stdout.flush()  # or the terminal would wait for the end of the line
    print()


if __name__ == '__main__': asyncio.run(main())
