"""How ids resolve to people. `person_ids` holds only ids that were merged; any other id is a person by itself."""

from services.contract.events_table import PERSON_IDS

# After `FROM events AS e ...`; {project:String} must be given.
JOIN_PERSONS = (
    "ANY LEFT JOIN (SELECT distinct_id, person_id FROM "
    f"{PERSON_IDS} FINAL WHERE project_id = {{project:String}}) AS merged ON merged.distinct_id = e.distinct_id"
)
# A column that the join did not find is the empty string, which no id is.
PERSON = "if(merged.person_id = '', e.distinct_id, merged.person_id)"
