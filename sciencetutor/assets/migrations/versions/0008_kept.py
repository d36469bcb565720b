"What a question is found again by, and what its answer was shown with: hints, tries, the card it leans on."
import sqlalchemy as sa
from alembic import op

revision, down_revision = '0008', '0007'

def upgrade():
    with op.batch_alter_table('messages') as t:
        t.add_column(sa.Column('key', sa.Text))
        t.add_column(sa.Column('kept', sa.JSON(none_as_null=True)))
    op.create_index('ix_messages_key', 'messages', ['key'])

def downgrade():
    op.drop_index('ix_messages_key', 'messages')
    with op.batch_alter_table('messages') as t:
        for c in ('key', 'kept'): t.drop_column(c)
