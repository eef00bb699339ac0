//! `normfree devices`.

use super::{Global, NO_GPU, Selection, bytes, say, say_json};
use crate::fault::Result;
use crate::gpu::{AdapterKind, Survey, survey};
use crate::host::{self, Host};

const AFTER_HELP: &str = "\
Each adapter is opened once, so the subgroup size is the one a shader saw, not
the one the driver claims. The first time, it is tried in a separate process:
whatever crashes or hangs its driver is not used. A discrete GPU is preferred,
then an integrated one, then a virtual one, then the CPU itself, which needs no
driver. --device overrides this in every command: a software adapter is used
only if it is named, or if `--device adapter` finds nothing better.

Examples:
  normfree devices
  normfree devices --device nvidia    which one this selects";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Print JSON: one object per device
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let selection = global.selection();
    let (all, best) = survey(&global.open_options(), selection == Selection::Adapters)?;
    let taken = match selection {
        Selection::Cpu => None,
        Selection::Adapters => best,
        Selection::Best => best.filter(|&index| !all[index].description.software()),
    };
    let host = Host::open(global.threads)?;
    if arguments.json {
        for adapter in &all {
            let mut value = serde_json::json!(adapter.description);
            value["taken"] = (Some(adapter.description.index) == taken).into();
            value["refusal"] = adapter.refusal.clone().into();
            value["left_alone"] = adapter.remarks.clone().into();
            say_json(value)?;
        }
        return say_json(serde_json::json!({
            "index": host::WORD,
            "name": host.name(),
            "kind": AdapterKind::Cpu,
            "threads": host.threads(),
            "taken": taken.is_none(),
        }));
    }
    for adapter in &all {
        say(describe(adapter))?;
        for remark in &adapter.remarks {
            say(format!("   {remark}\n"))?;
        }
    }
    say(format!(
        "{}: {}\n   kind               {}\n   threads            {}\n",
        host::WORD,
        host.name(),
        AdapterKind::Cpu.title(),
        host.threads()
    ))?;
    let Some(taken) = taken else {
        let why = match selection {
            Selection::Cpu => format!("--device {}", host::WORD),
            Selection::Adapters | Selection::Best => NO_GPU.to_owned(),
        };
        return say(format!("chosen: {} {} ({why})", host::WORD, host.name()));
    };
    let why = reason(&all[taken], &all, global.device.as_deref());
    say(format!("chosen: {taken} {} ({why})", all[taken].description.name))
}

fn describe(adapter: &Survey) -> String {
    let d = &adapter.description;
    let yes = |flag| if flag { "yes" } else { "no" };
    let lanes = match (d.lanes, &adapter.refusal) {
        (_, Some(refusal)) => format!("not known: {refusal}"),
        (Some(lanes), None) if lanes > 0 => format!("{lanes} lanes seen"),
        _ => "not used".to_owned(),
    };
    let (least, most) = d.reported_lanes;
    format!(
        "{}: {}\n   kind               {}, through {}\n   driver             {}\n   \
         subgroups          {lanes} ({least} to {most} reported)\n   16-bit floats      {}\n   \
         matrix units       {}\n   \
         timestamps         {}\n   largest binding    {}\n   largest buffer     {}\n   \
         workgroup          {} invocations, {} of memory\n",
        d.index,
        d.name,
        d.kind.title(),
        d.api,
        d.driver,
        yes(d.f16),
        if d.cooperative > 0 { format!("{0}x{0} in f16", d.cooperative) } else { "not used".to_owned() },
        yes(d.timestamps),
        bytes(d.max_binding),
        bytes(d.max_buffer),
        d.max_invocations,
        bytes(d.workgroup_memory.into()),
    )
}

fn reason(adapter: &Survey, all: &[Survey], wanted: Option<&str>) -> String {
    if let Some(wanted) = wanted {
        return format!("--device {wanted}");
    }
    let kind = adapter.description.kind;
    let same = all.iter().filter(|other| other.description.kind == kind).count();
    match kind {
        _ if all.len() == 1 => "the only one".to_owned(),
        AdapterKind::Software => "there are only software adapters".to_owned(),
        _ if same == 1 => format!("the only {}", kind.title()),
        _ => format!("the first of {same}: {}", kind.title()),
    }
}
