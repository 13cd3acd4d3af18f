//! Compares what `ffi.rs` declares with the C header, by compiling and running C.
//!
//! The header is Debian's `orthanc-dev`, or the one that `ORTHANC_PLUGIN_HEADER` names. What is newer than the header
//! is left out by the header's own `ORTHANC_PLUGINS_VERSION_IS_ABOVE`, and the header's version is checked against
//! what was compared, so that nothing goes missing unseen.

use crate::error_code;
use crate::ffi::{self, Service};
use crate::{Level, Method, MetricType, Version};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::mem::{offset_of, size_of};
use std::path::PathBuf;
use std::process::Command;

/// Something that both languages know: a C expression, and the value that it has in Rust.
struct Fact {
    expression: String,
    value: i64,
    since: Version,
}

const BASE: Version = Version::new(0, 0, 0);

/// Facts about a structure.
macro_rules! layout {
    ($facts:ident, $since:expr, $rust:ident is $c:literal { $($fields:tt)* }) => {
        $facts.push(Fact::new(format!("sizeof({})", $c), size_of::<ffi::$rust>(), $since));
        beginning!($facts, $since, $rust is $c { $($fields)* });
    };
}

/// The same for a structure that grows. The pattern without `..` makes the compiler complain of a field left out.
macro_rules! beginning {
    ($facts:ident, $since:expr, $rust:ident is $c:literal { $($field:ident is $c_field:literal),* $(,)? }) => {
        let _complete = |all: ffi::$rust| { let ffi::$rust { $($field: _),* } = all; };
        $facts.push(Fact::new(format!("_Alignof({})", $c), align_of::<ffi::$rust>(), $since));
        $($facts.push(Fact::new(
            format!("offsetof({}, {})", $c, $c_field),
            offset_of!(ffi::$rust, $field),
            $since,
        ));)*
    };
}

impl Fact {
    fn new(expression: String, value: usize, since: Version) -> Self {
        Self { expression, value: i64::try_from(value).unwrap(), since }
    }

    fn constant(name: String, value: i32) -> Self {
        Self { expression: name, value: value.into(), since: BASE }
    }
}

fn facts() -> Vec<Fact> {
    let mut facts = Vec::new();
    layout!(facts, BASE, Context is "OrthancPluginContext" {
        plugins_manager is "pluginsManager",
        orthanc_version is "orthancVersion",
        free is "Free",
        invoke_service is "InvokeService",
    });
    layout!(facts, BASE, MemoryBuffer is "OrthancPluginMemoryBuffer" { data is "data", size is "size" });
    layout!(facts, BASE, RetrieveDynamicString is "_OrthancPluginRetrieveDynamicString" {
        result is "result", argument is "argument",
    });
    layout!(facts, BASE, SetPluginProperty is "_OrthancPluginSetPluginProperty" {
        plugin is "plugin", property is "property", value is "value",
    });
    layout!(facts, Service::LogMessage.since(), LogMessage is "_OrthancPluginLogMessage" {
        message is "message", plugin is "plugin", file is "file", line is "line", category is "category",
        level is "level",
    });
    layout!(facts, BASE, RegisterOnChange is "_OrthancPluginOnChangeCallback" { callback is "callback" });
    layout!(facts, BASE, RestApiGet is "_OrthancPluginRestApiGet" { target is "target", uri is "uri" });
    layout!(facts, BASE, RestApiPostPut is "_OrthancPluginRestApiPostPut" {
        target is "target", uri is "uri", body is "body", body_size is "bodySize",
    });
    layout!(facts, Service::CallRestApi.since(), CallRestApi is "_OrthancPluginCallRestApi" {
        answer_body is "answerBody", answer_headers is "answerHeaders", http_status is "httpStatus",
        method is "method", uri is "uri", headers_count is "headersCount", headers_keys is "headersKeys",
        headers_values is "headersValues", body is "body", body_size is "bodySize",
        after_plugins is "afterPlugins",
    });
    facts_about_requests(&mut facts);
    facts_about_metrics(&mut facts);

    for service in Service::ALL {
        let mut fact = Fact::constant(format!("_OrthancPluginService_{}", service.name()), service.id());
        fact.since = service.since();
        facts.push(fact);
    }
    for (name, value) in [
        ("_OrthancPluginProperty_Description", ffi::PROPERTY_DESCRIPTION),
        ("_OrthancPluginProperty_RootUri", ffi::PROPERTY_ROOT_URI),
        ("_OrthancPluginProperty_OrthancExplorer", ffi::PROPERTY_ORTHANC_EXPLORER),
        ("OrthancPluginMetricsType_Default", MetricType::Default.id()),
        ("OrthancPluginMetricsType_Timer", MetricType::Timer.id()),
        ("OrthancPluginChangeType_OrthancStarted", ffi::CHANGE_ORTHANC_STARTED),
        ("OrthancPluginChangeType_OrthancStopped", ffi::CHANGE_ORTHANC_STOPPED),
        ("OrthancPluginResourceType_None", ffi::RESOURCE_NONE),
        ("OrthancPluginHttpMethod_Get", Method::Get.id()),
        ("OrthancPluginHttpMethod_Post", Method::Post.id()),
        ("OrthancPluginHttpMethod_Put", Method::Put.id()),
        ("OrthancPluginHttpMethod_Delete", Method::Delete.id()),
    ] {
        facts.push(Fact::constant(name.to_owned(), value));
    }
    for (name, value) in error_code::NAMED {
        facts.push(Fact::constant(format!("OrthancPluginErrorCode_{name}"), *value));
    }
    for (name, value) in [
        ("OrthancPluginLogLevel_Error", Level::Error.id()),
        ("OrthancPluginLogLevel_Warning", Level::Warning.id()),
        ("OrthancPluginLogLevel_Info", Level::Info.id()),
        ("OrthancPluginLogLevel_Trace", Level::Trace.id()),
        ("OrthancPluginLogCategory_Generic", ffi::LOG_CATEGORY_GENERIC),
    ] {
        let mut fact = Fact::constant(name.to_owned(), value);
        fact.since = Service::LogMessage.since();
        facts.push(fact);
    }
    for name in [
        "_OrthancPluginService",
        "_OrthancPluginProperty",
        "OrthancPluginErrorCode",
        "OrthancPluginChangeType",
        "OrthancPluginResourceType",
        "OrthancPluginHttpMethod",
        "OrthancPluginMetricsType",
    ] {
        facts.push(Fact::new(format!("sizeof({name})"), size_of::<i32>(), BASE));
    }
    facts
}

fn facts_about_requests(facts: &mut Vec<Fact>) {
    beginning!(facts, BASE, HttpRequest is "OrthancPluginHttpRequest" {
        method is "method", groups_count is "groupsCount", groups is "groups", get_count is "getCount",
        get_keys is "getKeys", get_values is "getValues", body is "body", body_size is "bodySize",
        headers_count is "headersCount", headers_keys is "headersKeys", headers_values is "headersValues",
    });
    let end = String::from("offsetof(OrthancPluginHttpRequest, headersValues) + sizeof(char**)");
    facts.push(Fact::new(end, size_of::<ffi::HttpRequest>(), BASE));
    layout!(facts, BASE, RegisterRest is "_OrthancPluginRestCallback" {
        path_regular_expression is "pathRegularExpression", callback is "callback",
    });
    layout!(facts, BASE, AnswerBuffer is "_OrthancPluginAnswerBuffer" {
        output is "output", answer is "answer", answer_size is "answerSize", mime_type is "mimeType",
    });
    layout!(facts, BASE, SendHttpStatus is "_OrthancPluginSendHttpStatus" {
        output is "output", status is "status", body is "body", body_size is "bodySize",
    });
    layout!(facts, BASE, OutputPlusArgument is "_OrthancPluginOutputPlusArgument" {
        output is "output", argument is "argument",
    });
    layout!(facts, BASE, SetHttpHeader is "_OrthancPluginSetHttpHeader" {
        output is "output", key is "key", value is "value",
    });
}

fn facts_about_metrics(facts: &mut Vec<Fact>) {
    layout!(facts, Service::SetMetricsValue.since(), SetMetricsValue is "_OrthancPluginSetMetricsValue" {
        name is "name", value is "value", kind is "type",
    });
    let since = Service::SetMetricsIntegerValue.since();
    layout!(facts, since, SetMetricsIntegerValue is "_OrthancPluginSetMetricsIntegerValue" {
        name is "name", value is "value", kind is "type",
    });
    let since = Service::RegisterRefreshMetricsCallback.since();
    layout!(facts, since, RegisterRefreshMetrics is "_OrthancPluginRegisterRefreshMetricsCallback" {
        callback is "callback",
    });
}

/// Function types cannot be printed; C refuses to compile when they differ from what `ffi.rs` says.
const FUNCTION_TYPES: &str = r"
static OrthancPluginErrorCode invoke(struct _OrthancPluginContext_t* c, _OrthancPluginService s, const void* p)
{ (void) c; (void) s; (void) p; return OrthancPluginErrorCode_Success; }
static void release(void* p) { (void) p; }
static OrthancPluginErrorCode change(OrthancPluginChangeType c, OrthancPluginResourceType r, const char* i)
{ (void) c; (void) r; (void) i; return OrthancPluginErrorCode_Success; }
static OrthancPluginErrorCode rest(OrthancPluginRestOutput* o, const char* u, const OrthancPluginHttpRequest* r)
{ (void) o; (void) u; (void) r; return OrthancPluginErrorCode_Success; }
static void refresh(void) { }
static OrthancPluginContext context = { NULL, NULL, release, invoke };
static _OrthancPluginOnChangeCallback registration = { change };
static _OrthancPluginRestCallback route = { NULL, rest };
static _OrthancPluginRegisterRefreshMetricsCallback metrics = { refresh };
";

/// What the header says: its version, and the value of each fact that it is new enough to know.
fn ask_header(facts: &[Fact]) -> (Version, BTreeMap<String, i64>) {
    let header = std::env::var_os("ORTHANC_PLUGIN_HEADER")
        .map_or_else(|| PathBuf::from("/usr/include/orthanc/OrthancCPlugin.h"), PathBuf::from);
    assert!(header.is_file(), "{} is missing: install `orthanc-dev`", header.display());

    let mut source = format!(
        "#include \"{}\"\n#include <stdio.h>\n#include <stddef.h>\n{FUNCTION_TYPES}\nint main(void) {{\n\
         (void) context; (void) registration; (void) route; (void) metrics;\n\
         printf(\"%d.%d.%d\\n\", ORTHANC_PLUGINS_MINIMAL_MAJOR_NUMBER, ORTHANC_PLUGINS_MINIMAL_MINOR_NUMBER, \
         ORTHANC_PLUGINS_MINIMAL_REVISION_NUMBER);\n",
        header.canonicalize().unwrap().display()
    );
    for Fact { expression, since: Version { major, minor, patch }, .. } in facts {
        write!(
            source,
            "#if ORTHANC_PLUGINS_VERSION_IS_ABOVE({major}, {minor}, {patch})\n\
             printf(\"%lld {expression}\\n\", (long long) ({expression}));\n#endif\n"
        )
        .unwrap();
    }
    source.push_str("return 0; }\n");

    let folder = tempfile::tempdir().unwrap();
    let (file, program) = (folder.path().join("abi.c"), folder.path().join("abi"));
    std::fs::write(&file, source).unwrap();
    let compiled = Command::new("gcc")
        .args(["-std=c11", "-Wall", "-Werror=incompatible-pointer-types", "-Wno-unused-function", "-o"])
        .args([&program, &file])
        .output()
        .expect("gcc is missing: install `gcc`");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));

    let answer = Command::new(&program).output().unwrap();
    assert!(answer.status.success());
    let answer = String::from_utf8(answer.stdout).unwrap();
    let mut lines = answer.lines();
    let version = lines.next().unwrap().parse().unwrap();
    let values = lines.map(|line| {
        let (value, expression) = line.split_once(' ').unwrap();
        (expression.to_owned(), value.parse().unwrap())
    });
    (version, values.collect())
}

#[test]
fn the_header_says_the_same() {
    let facts = facts();
    let (version, header) = ask_header(&facts);
    let known: Vec<&Fact> = facts.iter().filter(|fact| fact.since <= version).collect();
    let wrong: Vec<String> = known
        .iter()
        .filter(|fact| header.get(&fact.expression) != Some(&fact.value))
        .map(|fact| {
            format!("{}: {} here, {:?} there", fact.expression, fact.value, header.get(&fact.expression))
        })
        .collect();
    assert!(wrong.is_empty(), "ffi.rs differs from the header of Orthanc {version}:\n{}", wrong.join("\n"));
    assert_eq!(known.len(), header.len(), "the header has answered what was not asked");
    assert!(known.len() >= 110, "only {} facts compared", known.len());
}
