"""What a study is told about the learner is a number of a known name, or refused in one line."""

import pytest

from few_shot.learner import FewShotParameters
from schemas.errors import SettingsError
from studies.learner_options import learner_parameters


def test_what_is_not_said_stays_as_it_ships():
    assert learner_parameters([]) == FewShotParameters()
    assert learner_parameters(["propagation=1", "folds=4"]) == FewShotParameters(propagation=1.0, folds=4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("propagaton=1", "--learner: 'propagaton' is unknown. Did you mean 'propagation'?"),
        ("propagation", "--learner: propagation: '' must be a number from 0 up, as in propagation=0.0."),
        ("entropy_weight=nan", "'nan' must be a number"),
        ("entropy_weight=-1", "'-1' must be a number"),
        ("folds=2.5", "'2.5' must be a whole number from 1 up, as in folds=5."),
    ],
)
def test_what_can_not_be_used_is_refused_with_the_way_out(text, message):
    with pytest.raises(SettingsError) as refused:
        learner_parameters([text])
    assert message in str(refused.value)
