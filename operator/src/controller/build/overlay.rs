//! Lays what people wrote over what the operator made.

use serde_json::Value;

/// Objects are merged field by field, `null` removes a field, lists of named things are merged by
/// name, everything else replaces.
pub fn lay_over(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                match base.get_mut(key) {
                    _ if value.is_null() => drop(base.remove(key)),
                    Some(known) => lay_over(known, value),
                    None => drop(base.insert(key.clone(), value.clone())),
                }
            }
        }
        (Value::Array(base), Value::Array(over)) if named(base) && named(over) => {
            for value in over {
                match base.iter_mut().find(|known| known["name"] == value["name"]) {
                    Some(known) => lay_over(known, value),
                    None => base.push(value.clone()),
                }
            }
        }
        (base, over) => *base = over.clone(),
    }
}

fn named(list: &[Value]) -> bool {
    !list.is_empty() && list.iter().all(|value| value["name"].is_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_merged_and_named_things_are_found_by_name() {
        let mut base = json!({"spec": {"containers": [{"name": "node", "image": "a"}], "x": 1}});
        let over = json!({"spec": {
            "containers": [{"name": "node", "env": []}, {"name": "side", "image": "b"}],
            "x": null, "tolerations": [{"key": "k"}],
        }});
        lay_over(&mut base, &over);
        let expected = json!({"spec": {
            "containers": [{"name": "node", "image": "a", "env": []},
                           {"name": "side", "image": "b"}],
            "tolerations": [{"key": "k"}],
        }});
        assert_eq!(base, expected);
    }

    #[test]
    fn lists_without_names_are_replaced() {
        let mut base = json!({"args": ["a", "b"]});
        lay_over(&mut base, &json!({"args": ["c"]}));
        assert_eq!(base, json!({"args": ["c"]}));
    }
}
