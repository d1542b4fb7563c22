"""Which features of the contract a scenario mapping has: what a random generator must not forget."""

FEATURES = (
    "several products,several suppliers,deep,express,parallel lanes,lateral,random lead time,lane priority,lane capacity,"
    "node capacity,supplier capacity,batch,vehicle volume,fixed cost,commitment,lane products,source products,return,"
    "several sources,supplier as source,acceptance,patience,patience 0,lost share 0,lost share 1,lost share fraction,"
    "customer priority,lifo,shelf life,storage,node fixed cost,terminal,auto,carbon,price,season,quoted,sales,forecast,"
    "correlation,node outage,node fraction,lane outage,lane fraction,lead time factor,demand factor,yield,window,"
    "alternating,by product,minimum order,review,lane calendar,node calendar,opening backlog,opening in transit"
).split(",")


def numbers(entities, key):
    """Every number given under a key, mappings by product opened."""
    for entity in entities:
        value = entity.get(key)
        yield from value.values() if isinstance(value, dict) else () if value is None else (value,)


def features(scenario):
    """Which of FEATURES a scenario has."""
    nodes, lanes, customers = (list(scenario[key].values()) for key in ("nodes", "lanes", "customers"))
    suppliers = {name for name, node in scenario["nodes"].items() if node.get("kind") == "supplier"}
    ordinary = [lane for lane in lanes if "return_share" not in lane]
    fed = {lane["target"] for lane in ordinary if lane["source"] in suppliers}
    sources = [terms for c in customers for terms in c["sources"].values()]
    disruptions = list(scenario.get("disruptions", {}).values())
    effects = [effect for event in disruptions for effect in event["effects"]]
    lost = list(numbers(customers, "lost_share"))
    observe = scenario.get("observe", {})
    ends = [(lane["source"], lane["target"]) for lane in ordinary]

    def fraction(where):
        return any(0 < effect["availability"] < 1 for effect in effects if where in effect and "availability" in effect)

    def outage(where):
        return any(effect.get("availability") == 0 for effect in effects if where in effect)

    present = {
        "several products": len(scenario["products"]) > 1,
        "several suppliers": len(suppliers) > 1,
        "deep": any(lane["source"] in fed for lane in ordinary),
        "express": any(lane["lead_time"] == 0 for lane in lanes),
        "parallel lanes": len(set(ends)) < len(ends),
        "lateral": any(lane.get("mode") == "transshipment" for lane in lanes),
        "random lead time": any(isinstance(lane["lead_time"], dict) for lane in lanes),
        "lane priority": len({lane.get("priority", 1) for lane in ordinary}) > 1,
        "lane capacity": any("capacity" in lane for lane in lanes),
        "node capacity": any("capacity" in node and "kind" not in node for node in nodes),
        "supplier capacity": any("capacity" in node and "kind" in node for node in nodes),
        "minimum order": any(value > 0 for value in numbers(lanes, "minimum_order")),
        "review": any("review" in lane for lane in lanes),
        "lane calendar": any("calendar" in lane for lane in lanes),
        "node calendar": any("calendar" in node for node in nodes),
        "opening backlog": any(value > 0 for value in numbers(customers, "opening_backlog")),
        "opening in transit": any(value > 0 for value in numbers(lanes, "opening_in_transit")),
        "lane products": any("products" in lane for lane in lanes),
        "source products": any("products" in terms for terms in sources),
        "return": any("return_share" in lane for lane in lanes),
        "several sources": any(len(c["sources"]) > 1 for c in customers),
        "supplier as source": any(set(c["sources"]) & suppliers for c in customers),
        "acceptance": any(value < 1 for value in numbers(sources, "acceptance")),
        "patience": any("patience" in c for c in customers),
        "patience 0": 0 in numbers(customers, "patience"),
        "lost share 0": 0.0 in lost,
        "lost share 1": 1.0 in lost,
        "lost share fraction": any(0 < share < 1 for share in lost),
        "customer priority": len({c.get("priority", 1) for c in customers}) > 1,
        "lifo": any(c.get("issuing") == "lifo" for c in customers),
        "shelf life": any("shelf_life" in product for product in scenario["products"].values()),
        "storage": any("storage_capacity" in node for node in nodes),
        "node fixed cost": any("fixed_cost" in node for node in nodes),
        "terminal": any("terminal_value" in node for node in nodes),
        "auto": any(node.get("initial") == "auto" for node in nodes),
        "carbon": "carbon_price" in scenario,
        "price": any("price" in c for c in customers),
        "season": any("season" in c["demand"] for c in customers),
        "quoted": "lead_time" in observe,
        "sales": "demand" in observe,
        "forecast": "forecast" in scenario,
        "correlation": "correlation" in scenario,
        "node outage": outage("nodes"),
        "node fraction": fraction("nodes"),
        "lane outage": outage("lanes"),
        "lane fraction": fraction("lanes"),
        "lead time factor": any("lead_time_factor" in effect for effect in effects),
        "demand factor": any("demand_factor" in effect for effect in effects),
        "yield": any("yield" in effect for effect in effects),
        "window": any("from" in event["when"] for event in disruptions),
        "alternating": any("mean_up" in event["when"] for event in disruptions),
        "batch": any("batch" in lane for lane in lanes),
        "vehicle volume": any("vehicle_volume" in lane for lane in lanes),
        "fixed cost": any("fixed_cost" in lane for lane in lanes),
        "commitment": any("commitment" in lane for lane in lanes),
        "by product": any(isinstance(lane.get("transport_cost"), dict) for lane in lanes),
    }
    return {name for name, there in present.items() if there}
