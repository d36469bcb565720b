"Calculations with a child's own numbers: the right result, the way to it, and nothing where it is not sure."
import pytest
from sciencetutor.app.calculations import calculate, read_quantities


@pytest.mark.parametrize('asked, result', [
    ('how fast is a bike that goes 24 km in 2 hours', '12 kilometers per hour. Divide'),
    ('a train goes 80 mi an hour. how far does it go in 3 hrs', '240 miles. Multiply'),
    ('how far do i get in 30 minutes at 60 miles per hour', '30 miles.'),
    ('how many minutes does it take to walk 3 km at 6 km/h', '30 minutes.'),
    ('density of a block with a mass of 54 g and 20 cm³', '2.7 grams per cubic centimeter.'),
    ('what force makes a 1,500 kg car accelerate at 2 m/s²', '3,000 newtons.'),
    ('whats the acceleration if 20 N pushes 4 kg', '5 meters per second squared.'),
    ('work done by 50 N over 3 m', '150 joules.'),
    ('kinetic energy of 4 kg at 3 m/s', '18 joules.'),
    ('momentum of 0.15 kg at 40 m/s', '6 kilogram meters per second.'),
    ('how much power is 2 A at 120 V', '240 watts.'),
    ('what resistance lets 3 amps through at 12 volts', '4 ohms.'),
    ('how many mL in 1.5 L', '1.5 liters are 1,500 milliliters. 1 liter is 1,000 milliliters, so multiply by 1,000.'),
    ('convert 250 cm to meters', '250 centimeters are 2.5 meters. 1 meter is 100 centimeters, so divide by 100.'),
    ('what is 212 °F in celsius', '212 degrees Fahrenheit are 100 degrees Celsius.'),
    ('median of 7, 3 and 10', 'The median is 7.'),
    ('find the median of 4, 8, 6, 10', 'The median is 7.'),
    ('range of 12 cm, 9 cm and 20 cm', 'The range is 11 centimeters.'),
    ('average of 2, 3 and 5', 'The average is 3.333.')])
def test_worked_out(asked, result): assert calculate(asked).startswith(result), calculate(asked)


@pytest.mark.parametrize('asked', [
    'Why is the sky blue?', 'how fast does light go', 'how long is 5 minutes', 'is 1 mL the same as 1 cm3', '',
    'a 5 kg ball and a 2 kg ball fall 3 m, how fast do they go', 'in 1969 2 men flew 380000 km, how fast',
    'a car goes 5 miles in 0 hours, how fast', 'we only use 10% of our brains', 'how far is 9'*200,
    'what is 9999999999999999999999 km in m', 'i ran 5 km in 30 minutes, am i good'])
def test_nothing_where_it_is_not_sure(asked): assert calculate(asked) == ''


def test_a_single_letter_is_a_unit_as_it_is_written():
    assert [q.unit for q in read_quantities('5 A in a day, 5 N, 3 m, 2 M')] == ['ampere', 'day', 'newton', 'meter', '']


def test_the_page_works_it_out():
    from sciencetutor.app.answers import converse
    from sciencetutor.app.retrieval import finder
    answer = converse('A car goes 150 miles in 3 hours. How fast is it?', finder(), 6)
    assert answer.kind == 'calculation' and answer.text.startswith('50 miles per hour.')
