"The words that led to a flag, what a learned judge thinks perhaps, and what an adult found to be no problem."
import sqlalchemy as sa
from alembic import op

revision, down_revision = '0006', '0005'

def upgrade():
    with op.batch_alter_table('messages') as t:
        t.add_column(sa.Column('flag_words', sa.Text))
        t.add_column(sa.Column('perhaps', sa.Text))
    op.create_table('accepted',
        sa.Column('key', sa.Text, primary_key=True),
        sa.Column('created', sa.Float, nullable=False))

def downgrade():
    op.drop_table('accepted')
    with op.batch_alter_table('messages') as t:
        for c in ('flag_words', 'perhaps'): t.drop_column(c)
