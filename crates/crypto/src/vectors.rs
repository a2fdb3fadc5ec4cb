//! Known answers for derivation (profile §3): recomputes every field of every case of a file shaped as
//! `vectors/keys.json` from the case's inputs.
//!
//! A file is `{"rules": …, "cases": [CASE, …]}`; `rules` is prose and may be absent. A case has exactly the members
//! of [`INPUTS`] and [`ANSWERS`]. Usernames are taken octet for octet, and costs are not judged by policy, only
//! bounded. Whatever a file holds, the outcome is a [`Report`], never a panic.

use crate::{
    hex,
    kdf::{self, Password},
    key::SecretKey,
};
use sealpost_proto::{base64, phc::Cost};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// What a case is computed from.
pub const INPUTS: [&str; 8] =
    ["name", "password", "username", "auth_salt_b64", "key_salt_b64", "m_kib", "t", "p"];
/// What is computed.
pub const ANSWERS: [&str; 9] = [
    "password_nfc_hex",
    "hash_raw",
    "auth_hash_b64",
    "initial_response_b64",
    "bound_salt_hex",
    "seed_hex",
    "public_key_openssh",
    "pubkey_reply",
    "signature_over_ascii_sealpost_test",
];

/// What the signature of a case is over.
const MESSAGE: &[u8] = b"sealpost test";
/// No file may take more than 1 GiB, the most that policy allows.
const MAX_M_KIB: u64 = 1 << 20;
/// Nor hours.
const MAX_T: u64 = 64;
const MAX_P: u64 = 64;
/// A case has about 1 KB; no honest file has so many.
const MAX_CASES: usize = 10_000;

/// The outcome: a line for each case, and the numbers for the line `N passed, M failed`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Cases in which every field is as computed.
    pub passed: usize,
    /// All other cases, and faults of the file as a whole.
    pub failed: usize,
    /// In words.
    pub lines: Vec<String>,
}

impl Report {
    fn add(&mut self, name: &str, outcome: Result<(), String>) {
        // Names come from the file; escaped, they cannot steer a terminal.
        let name = name.escape_debug();
        match outcome {
            Ok(()) => {
                self.passed += 1;
                self.lines.push(format!("passed: {name}"));
            }
            Err(why) => {
                self.failed += 1;
                self.lines.push(format!("FAILED: {name}: {why}"));
            }
        }
    }
}

/// Recomputes the cases of `json`.
pub fn check(json: &str) -> Report {
    let mut report = Report::default();
    match cases(json) {
        Ok(cases) => {
            for (i, case) in cases.iter().enumerate() {
                let name = case.get("name").and_then(Value::as_str);
                let name = name.map_or_else(|| format!("case {}", i + 1), str::to_owned);
                report.add(&name, check_case(case));
            }
        }
        Err(why) => report.add("the file", Err(why)),
    }
    report
}

fn cases(json: &str) -> Result<Vec<Value>, String> {
    let Strict(value) = serde_json::from_str(json).map_err(|e| format!("not valid JSON: {e}"))?;
    let Value::Object(mut file) = value else { return Err("not a JSON object".into()) };
    if let Some(unknown) = file.keys().find(|k| !["rules", "cases"].contains(&k.as_str())) {
        return Err(format!("unknown member \"{}\"", unknown.escape_debug()));
    }
    match file.remove("rules") {
        None => {}
        Some(Value::Array(rules)) if rules.is_empty() => return Err("the list of rules is empty".into()),
        Some(Value::Array(rules)) if rules.iter().all(Value::is_string) => {}
        Some(_) => return Err("\"rules\" is not a list of texts".into()),
    }
    match file.remove("cases") {
        Some(Value::Array(cases)) if cases.is_empty() => Err("the list of cases is empty".into()),
        Some(Value::Array(cases)) if cases.len() > MAX_CASES => Err(format!("more than {MAX_CASES} cases")),
        Some(Value::Array(cases)) => Ok(cases),
        Some(_) => Err("\"cases\" is not a list".into()),
        None => Err("there is no list of cases".into()),
    }
}

fn check_case(case: &Value) -> Result<(), String> {
    let case = case.as_object().ok_or("not a JSON object")?;
    if let Some(unknown) =
        case.keys().find(|k| !INPUTS.contains(&k.as_str()) && !ANSWERS.contains(&k.as_str()))
    {
        return Err(format!("unknown field \"{}\"", unknown.escape_debug()));
    }
    if let Some(missing) = INPUTS.iter().chain(&ANSWERS).find(|f| !case.contains_key(**f)) {
        return Err(format!("field \"{missing}\" is missing"));
    }
    let answers = answer(case)?;
    for (field, computed) in ANSWERS.iter().zip(answers) {
        if case[*field].as_str() != Some(&computed) {
            return Err(format!("field \"{field}\" differs; computed {computed}"));
        }
    }
    Ok(())
}

/// The values of [`ANSWERS`], in their order.
fn answer(case: &Map<String, Value>) -> Result<[String; 9], String> {
    text(case, "name")?;
    let username = text(case, "username")?;
    if username.contains('\0') {
        return Err("the username holds U+0000".into());
    }
    let password = Password::new(text(case, "password")?).map_err(|e| e.to_string())?;
    let auth_salt = salt(case, "auth_salt_b64")?;
    let key_salt = salt(case, "key_salt_b64")?;
    let cost = Cost {
        m_kib: number(case, "m_kib", MAX_M_KIB)?,
        t: number(case, "t", MAX_T)?,
        p: number(case, "p", MAX_P)?,
    };

    let login = kdf::login_hash_of(username, &password, &auth_salt, cost).map_err(|e| e.to_string())?;
    let login_b64 = base64::encode(login.expose());
    let bound = kdf::bound_salt(username, &key_salt);
    let seed = kdf::seed(&password, &bound, cost).map_err(|e| e.to_string())?;
    let key = SecretKey::from_seed(*seed);
    Ok([
        hex::encode(password.expose().as_bytes()),
        hex::encode(login.expose()),
        login_b64.clone(),
        base64::encode(format!("\0{username}\0{login_b64}")),
        hex::encode(&bound),
        hex::encode(&*seed),
        key.public().openssh(),
        format!("220 {} {}", key.public().algorithm().token(), key.public().wire()),
        hex::encode(&key.sign(MESSAGE)),
    ])
}

fn text<'a>(case: &'a Map<String, Value>, field: &str) -> Result<&'a str, String> {
    case[field].as_str().ok_or_else(|| format!("field \"{field}\" is not a string"))
}

fn salt(case: &Map<String, Value>, field: &str) -> Result<[u8; 16], String> {
    let bytes = base64::decode(text(case, field)?).map_err(|e| format!("field \"{field}\": {e}"))?;
    bytes.try_into().map_err(|_| format!("field \"{field}\" is not 16 bytes"))
}

fn number(case: &Map<String, Value>, field: &str, max: u64) -> Result<u32, String> {
    let number = case[field].as_u64().filter(|n| (1..=max).contains(n));
    number.and_then(|n| u32::try_from(n).ok()).ok_or_else(|| format!("field \"{field}\" is not 1 to {max}"))
}

/// A JSON value in which no object has the same member twice: `serde_json` takes the last one, other software the
/// first, and a file that means two things proves nothing.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(value)) = seq.next_element()? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("a member stands twice in one object"));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// A cheap case whose answers are filled in by the code under test.
    fn case() -> Map<String, Value> {
        let mut case = json!({
            "name": "cheap", "password": "p\u{e4}ss", "username": "a@x.example", "auth_salt_b64": base64::encode([1; 16]),
            "key_salt_b64": base64::encode([2; 16]), "m_kib": 8, "t": 1, "p": 1,
        });
        let case = case.as_object_mut().expect("an object");
        let answers = answer(case).expect("a good case");
        case.extend(ANSWERS.iter().zip(answers).map(|(k, v)| ((*k).to_owned(), v.into())));
        case.clone()
    }

    fn outcome(file: &Value) -> (usize, usize) {
        let report = check(&file.to_string());
        assert_eq!(report.lines.len(), report.passed + report.failed);
        (report.passed, report.failed)
    }

    #[test]
    fn r22_every_changed_missing_or_unknown_field_fails() {
        assert_eq!(outcome(&json!({"rules": ["prose"], "cases": [case()]})), (1, 0));
        assert_eq!(outcome(&json!({"cases": [case(), case()]})), (2, 0));
        for field in ANSWERS.iter().chain(&INPUTS[1..]) {
            let mut changed = case();
            changed[*field] = match &changed[*field] {
                Value::String(s) if field.ends_with("_b64") && s.len() == 24 => {
                    base64::encode([9; 16]).into()
                }
                Value::String(s) => format!("{s} ").into(),
                Value::Number(n) => json!(n.as_u64().expect("small") * 16),
                _ => unreachable!("strings and numbers only"),
            };
            assert_eq!(outcome(&json!({"cases": [case(), changed]})), (1, 1), "{field} changed");
        }
        for field in INPUTS.iter().chain(&ANSWERS) {
            let mut missing = case();
            missing.remove(*field);
            assert_eq!(outcome(&json!({"cases": [missing]})), (0, 1), "{field} missing");
            for other in [Value::Null, json!([]), json!({}), json!(true), json!(1.5), json!(-1)] {
                let mut typed = case();
                typed[*field] = other.clone();
                assert_eq!(outcome(&json!({"cases": [typed]})), (0, 1), "{field} is {other}");
            }
        }
        let mut unknown = case();
        unknown.insert("comment".into(), "x".into());
        assert_eq!(outcome(&json!({"cases": [unknown]})), (0, 1));
        let mut upper = case();
        upper["seed_hex"] = upper["seed_hex"].as_str().expect("text").to_uppercase().into();
        assert_eq!(outcome(&json!({"cases": [upper]})), (0, 1));
    }

    #[test]
    fn malformed_files_fail() {
        let good = Value::Object(case()).to_string();
        let twice = good.replacen("\"t\":1", "\"t\":1,\"t\":1", 1);
        assert_ne!(good, twice);
        for file in [
            String::new(),
            "{".into(),
            "null".into(),
            "[]".into(),
            "{}".into(),
            "{\"cases\":[]}".into(),
            "{\"cases\":{}}".into(),
            "{\"rules\":[]}".into(),
            "{\"cases\":[1]}".into(),
            format!("{{\"cases\":[{good}],\"more\":1}}"),
            format!("{{\"rules\":[],\"cases\":[{good}]}}"),
            format!("{{\"rules\":[1],\"cases\":[{good}]}}"),
            format!("{{\"cases\":[{good}]}} x"),
            format!("{{\"cases\":[{good}],\"cases\":[{good}]}}"),
            format!("{{\"cases\":[{twice}]}}"),
            "[".repeat(100_000),
        ] {
            let report = check(&file);
            assert_eq!(
                (report.passed, report.failed),
                (0, 1),
                "{}",
                file.chars().take(60).collect::<String>()
            );
        }
    }

    #[test]
    fn hostile_inputs_fail_without_harm() {
        let mut many = case();
        for (field, value) in [
            ("m_kib", json!(u64::MAX)),
            ("m_kib", json!(MAX_M_KIB + 1)),
            ("m_kib", json!(0)),
            ("m_kib", json!(7)),
            ("t", json!(u32::MAX)),
            ("t", json!(0)),
            ("p", json!(u32::MAX)),
            ("p", json!(2)),
            ("password", json!("a\0b")),
            ("password", json!("a".repeat(2_000))),
            ("username", json!("a\0b")),
            ("auth_salt_b64", json!(base64::encode([1; 15]))),
            ("key_salt_b64", json!(base64::encode([1; 17]))),
            ("key_salt_b64", json!("AAAA")),
            ("auth_salt_b64", json!("not base64")),
        ] {
            let mut bad = case();
            bad[field] = value.clone();
            assert_eq!(outcome(&json!({"cases": [bad]})), (0, 1), "{field} {value}");
        }
        many["name"] = "\u{1b}[2J\n".into();
        let report = check(&json!({"cases": [many]}).to_string());
        assert_eq!(report.lines, ["passed: \\u{1b}[2J\\n"]);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,200}", json in "[\\[\\]{}\",:0-9a-z ]{0,80}") {
            prop_assert_eq!(check(&text).passed, 0);
            prop_assert_eq!(check(&json).passed, 0);
        }
    }
}
