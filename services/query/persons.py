"""How ids resolve to people. `person_ids` holds only ids that were merged; any other id is a person by itself.

People are told apart by a 64-bit hash of project and id, which is stored beside each id: comparing, grouping and
joining it takes a third of the time of the text. DESIGN.md says how unlikely it is that two ids share one.
"""

from services.contract.events_table import PERSON_IDS

# After `FROM events AS e ...`; {project:String} must be given. An id that is its own person needs no row. FINAL first:
# only the latest row of an id says whose it is.
JOIN_PERSONS = (
    "ANY LEFT JOIN (SELECT distinct_hash, person_hash, person_id FROM "
    f"{PERSON_IDS} FINAL WHERE project_id = {{project:String}} AND person_hash != distinct_hash "
    "SETTINGS optimize_move_to_prewhere_if_final = 0) AS merged ON merged.distinct_hash = e.distinct_hash"
)
# A row that the join did not find has 0. A number for sets and groups, the id for answers.
PERSON = "if(merged.person_hash = 0, e.distinct_hash, merged.person_hash)"
PERSON_ID = "if(merged.person_hash = 0, e.distinct_id, merged.person_id)"
