# `make run` opens the tutor, `make test` proves that it works. Both build .venv first if it is not there.

python ?= python3
bin    := $(CURDIR)/.venv/bin
pip    := .venv/bin/pip install --quiet --disable-pip-version-check
export PATH := $(bin):$(PATH)
export TORCH_INDEX

run: .venv ## samples, a short fine-tune, its accuracy, the page
	sciencetutor quickstart

test: .venv/dev ## everything CI checks, in under half an hour on 2 cores
	nbdev-export && git diff --exit-code sciencetutor
	nbdev-clean && git diff --exit-code nbs
	ruff check .
	bandit -q -c pyproject.toml -r sciencetutor tools examples deploy
	python tools/docs.py && git diff --exit-code README.md docs nbs pyproject.toml
	OMP_NUM_THREADS=1 pytest -n auto --dist loadfile

docs: .venv/dev ## the site in docs/ and README.md, from the notebooks
	python tools/docs.py

bench: .venv/dev ## speed and memory, as ratios in one run, into bench/results
	for script in $(filter-out bench/gpu_bench.py,$(wildcard bench/*_bench.py)); do python $$script || exit 1; done

gpu: .venv/dev ## models of 7 billion parameters on this machine's GPU, 12 minutes at most; SIZE=tiny: toys on any machine; PARTS="lora serve": some
	python bench/gpu_bench.py --size $(SIZE) $(if $(PARTS),--parts $(PARTS))

tutor: .venv ## train the tutor that ships again, on the data set folder DATA; OTHERS: questions of other tests
	python -c "from sciencetutor.release import run_tutor; run_tutor('$(DATA)', out='checkpoints/tutor', others='$(OTHERS)')"
	cp checkpoints/tutor/packed/* sciencetutor/assets/tutor/

reader: .venv ## teach the reader again, on DATA and on OTHERS, a data set of other questions
	python -c "from sciencetutor.app.teaching_the_reader import run_reader; print(run_reader('$(DATA)', '$(OTHERS)'))"

cards: .venv ## weigh the cards' evidence again, on DATA and on OTHERS, a data set of other questions
	python -c "from sciencetutor.release import run_cards; print(run_cards('$(DATA)', '$(OTHERS)'))"

finder: .venv ## learn again how cards are found, after cards have changed
	python -c "from sciencetutor.app.retrieval import make_weights; print(make_weights(choices='bench/choices.jsonl'))"
	python -c "from sciencetutor.app.answers import make_follow_ups; print(make_follow_ups('bench/follow_ups.jsonl'))"

scan: .venv/dev ## what scanners of the code and of a running server find; needs no network
	bandit -q -c pyproject.toml -r sciencetutor tools examples deploy
	OMP_NUM_THREADS=1 pytest -m 'scan or not scan' tests/test_scan.py

soak: .venv/dev ## the long fault and load tests, at full count
	pytest -m soak tests

# torch goes first, at its exact pin and without CUDA's gigabytes where there is no card for them; TORCH_INDEX=URL takes it from elsewhere
.venv: .venv/user
.venv/user: constraints.txt settings.ini setup.py | tools/torch_index.py
	$(python) -m venv .venv
	index=$$($(python) tools/torch_index.py) && torch=$$(grep '^torch==' constraints.txt) && $(pip) $$index $$torch || $(pip) $$torch
	$(pip) -c constraints.txt -e '.[train,serve,quant]'
	@touch $@

# what only tests, docs and benchmarks need comes on top, so that the tutor is there sooner
.venv/dev: .venv/user
	$(pip) -c constraints.txt -e '.[all]'
	@touch $@

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

clean: ## forget what was built, keep what was trained
	rm -rf .venv _proc build *.egg-info

DATA ?= data/scienceqa
SIZE ?= 7b
OTHERS ?=

.PHONY: .venv run test docs bench gpu tutor reader cards finder scan soak help clean
