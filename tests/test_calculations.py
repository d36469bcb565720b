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
    ('average of 2, 3 and 5', 'The average is 3.333.'),
    ('how many feet in 1,850 meters', '1,850 meters are 6,070 feet.'),
    ('what is the average of 1000, 1020 and 1041', 'The average is 1,020.'),
    ('median of 3,5,7, 9, 11, 13', 'The median is 8.'), ('the average of .5, 1, 2 and 3', 'The average is 1.625.'),
    ('how long does it take to walk 500 m at 5 km/h', '6 minutes.')])
def test_worked_out(asked, result): assert calculate(asked).startswith(result), calculate(asked)


@pytest.mark.parametrize('asked', [
    'Why is the sky blue?', 'how fast does light go', 'how long is 5 minutes', 'is 1 mL the same as 1 cm3', '',
    'a 5 kg ball and a 2 kg ball fall 3 m, how fast do they go', 'in 1969 2 men flew 380000 km, how fast',
    'a car goes 5 miles in 0 hours, how fast', 'we only use 10% of our brains', 'how far is 9'*200,
    'what is 9999999999999999999999 km in m', 'i ran 5 km in 30 minutes, am i good',
    'negative 40 degrees celsius in fahrenheit', '−40 °C in fahrenheit', 'what is -40 °C in fahrenheit',
    'There are 4 students with heights 150 cm, 160 cm and 155 cm. What is the mean?',
    'What does it mean when my baby is 2, 3 or 4 weeks old', 'why do 3 out of 4 people mean 75 percent?',
    'pH range of 1 to 14 mean, is 7 neutral?', 'what does the ratio 1:2:3 mean', 'average of 1, 2, 1'+',000'*60,
    'How many hours does a koala sleep in 1 day?', 'how many minutes should i brush my teeth in 1 day',
    'How many feet does a 3 meter centipede have?', 'why are there 24 hours in a day?', 'how many cm2 in 5 m2',
    'how many square feet in 3 square yards', 'what is the gravitational force on a 5 kg rock 2 m above the ground',
    'potential energy of 5 kg 2 m up on the moon', 'a ball falls 20 m in 2 s. how fast does it hit the ground',
    'an echo comes back after 4 s at 340 m/s, how far is the wall', 'the water rises by 10 degrees celsius',
    'how fast does a hummingbird 5 cm long flap its wings in 1 second'])
def test_nothing_where_it_is_not_sure(asked): assert calculate(asked) == ''


def test_a_single_letter_is_a_unit_as_it_is_written():
    rest, found = read_quantities('5 A in a day, 5 N, 3 m, 2 M')
    assert rest == 'Q in a U, Q, Q, N m' and [q.unit for q in found] == ['ampere', 'day', 'newton', 'meter', '']


def test_the_page_works_it_out():
    from sciencetutor.app.answers import converse
    from sciencetutor.app.retrieval import finder
    answer = converse('A car goes 150 miles in 3 hours. How fast is it?', finder(), 6)
    assert answer.kind == 'calculation' and answer.text.startswith('50 miles per hour.')
    before = [('Why is the sky blue?', converse('Why is the sky blue?', finder(), 6))]
    assert converse('how many cm in 2 m?', finder(), 6, before).text.startswith('2 meters are 200 centimeters.')
    assert converse('What is the mean of 3, 5 and 7?', finder(), 6).text.startswith('The mean is 5.')


def test_threads_share_the_units():
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(4) as pool: assert len(set(pool.map(calculate, ['how many cm in 2 m']*8))) == 1
