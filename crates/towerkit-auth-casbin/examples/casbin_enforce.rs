//! Decides requests by a model and a policy: `casbin_enforce model.conf policy.csv <requests`.
//!
//! A line of the input is one request, whose elements are separated by tabs. Each line of the output is `allow`, `deny`, or an error.

use std::{
    env,
    error::Error,
    io::{self, BufRead},
};

use towerkit_auth_casbin::CasbinPolicy;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let (Some(model), Some(policy)) = (arguments.next(), arguments.next()) else {
        return Err("usage: casbin_enforce model.conf policy.csv <requests".into());
    };
    let policy = CasbinPolicy::open(model, policy)?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let request: Vec<&str> = line.split('\t').collect();
        match policy.enforce(&request) {
            Ok(()) => println!("allow"),
            Err(error) if error.cause() == "the policy denies the request" => println!("deny"),
            Err(error) => println!("error: {}", error.cause()),
        }
    }
    Ok(())
}
