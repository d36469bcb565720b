"The cards as evidence for the choices of a question."
import datasets, numpy as np, pytest, torch
from fastcore.script import CliError

from sciencetutor.models.card_evidence import FEATURES, CardEvidence, card_evidence, index_cards, passages
from sciencetutor.models.core import ASSETS, load_model
from sciencetutor.models.knn import OPINIONS, KNNIndex, all_opinions, card_features, load_index, make_index, mix_scores
from sciencetutor.release import run_cards, weigh_cards

QUESTION = 'Which force keeps the planets on their paths around the sun?'
CHOICES = ['friction', 'gravity', 'sound']


@pytest.fixture(scope='module')
def cards(): return card_evidence()


def item(question=QUESTION, choices=CHOICES):
    return dict(messages=[dict(role='user', content=f'Question: {question}')], images=[], choices=choices)


def test_what_is_wrong_is_no_passage():
    card = dict(title='Ice', answer='It floats.', check=dict(question='Hot?', choices=['yes', 'no'], answer='no'))
    said = passages(card | {'not': [dict(says='Ice sinks.', truth='Ice swims.')]})
    assert said == ['Ice. It floats.', 'It floats.', 'Ice swims.', 'Hot? no']


def test_all_agree_on_gravity(cards):
    said = cards.features(QUESTION, CHOICES)
    assert said.shape == (3, len(FEATURES)) and said.dtype == np.float32
    assert (said.argmax(0)[[0, 1, 3]] == 1).all()


def test_order_of_choices_does_not_matter(cards):
    assert np.allclose(cards.features(QUESTION, CHOICES), cards.features(QUESTION, CHOICES[::-1])[::-1], atol=1e-5)


@pytest.mark.parametrize('question, choices', [('', CHOICES), ('Qwzx?', CHOICES), (QUESTION, ['', 'qwzx']),
                                               (QUESTION, ['the planets']), ('?', ['!'])])
def test_nothing_known_says_nothing(cards, question, choices):
    assert not cards.features(question, choices).any()


def test_scores_by_hand():
    told = CardEvidence(index_cards([dict(title='Ice', answer='Ice melts.'), dict(title='Sand', answer='Sand lies.')]))
    ir, pmi, share, whole = told.features('melts', ['ice', 'sand']).T
    assert ir[0] > 0 == ir[1] and share[0] > 0 == share[1]
    # 6 passages: none is of sand and melting, 2 of ice and melting, 2 have each word
    assert pmi[0] == pytest.approx(np.log(2.1*4/9)) and pmi[1] == pytest.approx(np.log(.1*4/9))
    assert whole[0] == pytest.approx(np.log(1.1*2/4)) and whole[1] == pytest.approx(np.log(.1*2/4))


def test_cards_are_heard_where_their_weights_are_and_no_picture_is():
    shipped = load_index(ASSETS)
    weights, scores = shipped.tensors['cards'], torch.zeros(3)
    assert card_features(item()).shape == (3, len(FEATURES)+1)  # and the reader's
    assert weights.shape == (OPINIONS,)
    without, older = (KNNIndex({k: v for k, v in shipped.tensors.items() if k != 'cards'} | more)
                      for more in ({}, dict(cards=weights[:4])))
    mixed = mix_scores(without, item(), scores)
    assert torch.equal(mix_scores(older, item(), scores), mixed)
    heard = mix_scores(shipped, item(), scores)
    assert torch.allclose(heard, all_opinions(shipped, item(), mixed)@weights) and heard.argmax() == 1


def test_model_and_index_count_more_where_a_like_question_was_solved():
    index, sure = load_index(ASSETS), torch.tensor([9., 0., 0.])
    strange, mine = all_opinions(index, item(), sure), all_opinions(make_index(rows()), item(), sure)
    assert torch.equal(strange[:, 5], sure) and torch.equal(mine[:, 5], sure)
    assert mine[0, 6] == pytest.approx(9, abs=1e-3) and strange[0, 6] < 5


def rows(n=12):
    asked = [dict(question=QUESTION, context='', choices=CHOICES, image=None, answer_index=1) for _ in range(n)]
    return datasets.Dataset.from_list(asked).cast_column('image', datasets.Image())


def test_weights_are_fitted_on_several_sources():
    model, processor = load_model('tiny')
    index = make_index(rows())
    assert weigh_cards(model, processor, index, [rows(), rows(6)], most=8) == 14
    assert mix_scores(index, item(), torch.zeros(3)).argmax() == 1


def test_no_other_questions_is_one_line(tmp_path):
    with pytest.raises(CliError, match='no data set with splits that end in _dev'): run_cards('x', str(tmp_path))
